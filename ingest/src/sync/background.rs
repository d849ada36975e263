//! Applies the schema to a writer's servers, each in its own task, as soon as the server is
//! reachable.
//!
//! If ClickHouse refuses a statement, or if the database and the schema differ, the task logs the
//! error regularly and checks again, since the operator can change either side. Once a server is
//! ready, the task checks the deduplication windows every few seconds, since a new materialized
//! view may need one.

use std::{
    collections::BTreeSet,
    error::Error,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tokio::{sync::watch, task::JoinSet, time::sleep};

use super::{
    Kind, Plan, apply_windows,
    defaults::differing_defaults,
    leader::{Candidate, apply_as_leader},
    retention,
    server::{check_server, unknown_settings},
    window::TURNS_OFF,
};
use crate::{
    store::{
        Class, ClickHouseUrl, Connection,
        backoff::{Backoff, HOLD},
        failure_log::FailureLog,
        servers::{Server, Servers},
    },
    sync::{SyncError, state::State},
    table::Schema,
};

/// An unreachable server is pinged often: the request is small, and all tables wait for the
/// response.
const UNREACHABLE: Backoff = Backoff {
    first: Duration::from_millis(100),
    cap: Duration::from_secs(2),
};

/// The longest time that a new materialized view may write into a table without a window. A check
/// takes at least two small queries.
const WINDOWS_INTERVAL: Duration = Duration::from_secs(10);

/// Starts to apply the schema to each server in `servers`, with `settings` for its inserts, and
/// returns the servers' states. The tasks end once the receiver is dropped.
pub(crate) fn start(
    servers: Servers,
    schema: &'static Schema,
    rejected_days: u32,
    settings: Vec<(&'static str, String)>,
    tasks: &mut JoinSet<()>,
) -> watch::Receiver<Vec<State>> {
    let servers = servers.into_vec();
    let states = servers.iter().map(|server| match server.is_synced {
        true => State::Unknown,
        false => State::Ready(Arc::new(Connection::new(&server.url, settings.clone()))),
    });
    let (states, receiver) = watch::channel(states.collect::<Vec<_>>());
    let states = Arc::new(states);
    for (index, server) in servers.into_iter().enumerate() {
        let Server { url, is_synced: true } = server else {
            continue;
        };
        let (states, settings) = (Arc::clone(&states), settings.clone());
        tasks.spawn(async move {
            let set = |state| states.send_modify(|states| states[index] = state);
            tokio::select! {
                () = states.closed() => {}
                () = async {
                    let (warned, connection) = supervise(&url, schema, rejected_days, settings, set).await;
                    maintain_windows(&url, schema, warned, &connection).await;
                } => {}
            }
        });
    }
    receiver
}

/// Applies the schema until the server has the tables. Returns the warnings that are already
/// logged, and the connection.
async fn supervise(
    url: &ClickHouseUrl,
    schema: &Schema,
    rejected_days: u32,
    mut settings: Vec<(&'static str, String)>,
    set: impl Fn(State),
) -> (BTreeSet<String>, Arc<Connection>) {
    let mut failure_log = FailureLog::default();
    let mut failures = 0;
    let mut candidate = Candidate::new(url);
    loop {
        let error = match attempt(url, schema, rejected_days, &mut candidate).await {
            Ok((plan, unknown, differing)) => {
                if plan.is_turned_off {
                    tracing::info!(store = %url, "the user's profile turns deduplication off; inserts turn it on for themselves");
                    settings.push((TURNS_OFF, "enable".to_owned()));
                }
                let connection = Arc::new(Connection::without(url, settings, &unknown));
                connection.differing_defaults.store(differing, Ordering::Relaxed);
                connection.is_converting.store(plan.is_converting, Ordering::Relaxed);
                set(State::Ready(Arc::clone(&connection)));
                log_plan(url, &plan, failures);
                return (plan.warnings.into_iter().collect(), connection);
            }
            Err(error) => Arc::new(error),
        };
        failures += 1;
        let class = error.class();
        // Publishes the state before logging it.
        set(match class {
            Class::Retry => State::Unreachable,
            _ => State::Rejected(Arc::clone(&error)),
        });
        // The caller that waits for the first attempt gets a refusal as an error, so the log omits
        // it.
        if class == Class::Retry || failures > 1 {
            log_failure(&mut failure_log, &error, failures);
        }
        let wait = if class == Class::Retry { UNREACHABLE } else { HOLD };
        sleep(wait.wait(failures)).await;
    }
}

/// Applies the schema. Returns the changes, the settings that the server does not have, and the
/// number of columns whose constant DEFAULT differs.
async fn attempt(
    url: &ClickHouseUrl,
    schema: &Schema,
    rejected_days: u32,
    candidate: &mut Candidate<'_>,
) -> Result<(Plan, Vec<&'static str>, u64), SyncError> {
    let applied = async {
        check_server(url).await?;
        let unknown = unknown_settings(url).await?;
        let mut plan = apply_as_leader(candidate, schema).await?;
        let differing = match differing_defaults(url, schema).await {
            Ok(sentences) => sentences,
            Err(Kind::Server { error, .. }) if error.is_transient() => {
                return Err(Kind::of("reading the defaults of its columns", error));
            }
            Err(_) => Vec::new(),
        };
        let count = differing.len() as u64;
        plan.warnings.extend(differing);
        Ok((plan, unknown, count))
    };
    let (mut plan, unknown, differing) = applied.await.map_err(|kind: Kind| kind.at(url))?;
    // Rows do not wait for the TTL.
    match retention::apply(url, rejected_days).await {
        Ok(statement) => plan.statements.extend(statement),
        Err(error) => plan
            .warnings
            .push(format!("the TTL of the table `rejected` could not be set: {error}")),
    }
    Ok((plan, unknown, differing))
}

/// Sets the windows of tables that begin to need one, in an endless loop. Logs each warning once.
async fn maintain_windows(url: &ClickHouseUrl, schema: &Schema, mut warned: BTreeSet<String>, connection: &Connection) {
    loop {
        sleep(WINDOWS_INTERVAL).await;
        // The operator may have applied the schema.
        if connection.differing_defaults.load(Ordering::Relaxed) > 0
            && let Ok(differing) = differing_defaults(url, schema).await
        {
            connection
                .differing_defaults
                .store(differing.len() as u64, Ordering::Relaxed);
        }
        match apply_windows(url, schema).await {
            Ok(mut plan) => {
                plan.warnings.retain(|warning| warned.insert(warning.clone()));
                log_plan(url, &plan, 0);
            }
            // Deliveries log such errors, and the next check follows soon.
            Err(error) => tracing::debug!(error = %error.at(url), "the deduplication windows could not be read"),
        }
    }
}

fn log_plan(url: &ClickHouseUrl, plan: &Plan, failures: u32) {
    for statement in &plan.statements {
        // The `plan` command prints the complete statements.
        tracing::info!("schema: {}", statement.lines().next().unwrap_or_default());
    }
    for note in &plan.notes {
        tracing::info!(store = %url, "{note}");
    }
    for warning in &plan.warnings {
        tracing::warn!(store = %url, "{warning}");
    }
    if failures > 0 {
        tracing::info!(store = %url, failures, "ClickHouse has the schema's tables; rows are delivered");
    }
}

fn log_failure(failure_log: &mut FailureLog, error: &SyncError, failures: u32) {
    let Some(is_recent) = failure_log.due(error.class()) else {
        return;
    };
    let cause = error.source().map(tracing::field::display);
    match error.class() {
        Class::Retry if is_recent => {
            tracing::warn!(%error, cause, failures, "ClickHouse is unavailable: events are accepted, and their rows are held");
        }
        Class::Retry => {
            tracing::error!(%error, cause, failures, "ClickHouse has been unavailable for minutes: events are accepted, and their rows are held");
        }
        _ => {
            tracing::error!(%error, cause, failures, "the schema cannot be applied without intervention; rows are held until then");
        }
    }
}
