//! `rowmill sign`: makes a link for a route whose links are signed.

use std::{
    env,
    error::Error,
    io::{self, Write},
    time::SystemTime,
};

use rowmill_ingest::route::{Destination, LinkKey, RedirectPolicy, Verification};

use crate::cli::SignOptions;

/// Prints a link that leads to a target.
pub(crate) fn sign(options: &SignOptions, destinations: &'static [Destination]) -> Result<(), Box<dyn Error>> {
    let SignOptions {
        url,
        route,
        expires,
        key_env,
        base,
    } = options;
    let verification = verification(route, destinations)?;
    let key = match key_env {
        None => LinkKey::of_route(verification)?,
        Some(name) => {
            let secret = env::var(name).map_err(|_| format!("the environment variable {name} is not set"))?;
            let first = secret.lines().map(str::trim).find(|line| !line.is_empty());
            LinkKey::new(first.ok_or_else(|| format!("the environment variable {name} is empty"))?)
        }
    };
    let end = SystemTime::now()
        .checked_add(*expires)
        .ok_or("the time is too far away")?;
    let link = key.sign(route, url, end)?;
    writeln!(io::stdout(), "{}{link}", base.trim_end_matches('/'))?;
    Ok(())
}

/// Returns the description of a route's links.
fn verification(route: &str, destinations: &'static [Destination]) -> Result<&'static Verification, String> {
    let Some(destination) = destinations.iter().find(|destination| destination.path == route) else {
        return Err(format!(
            "the schema has no route `{route}`; `rowmill routes` lists all of them"
        ));
    };
    match destination.options.and_then(|options| options.redirect.as_ref()) {
        Some(RedirectPolicy::Signed(verification)) => Ok(verification),
        _ => Err(format!(
            "the links of `{route}` are not signed: add `redirect: {{ signed: {{ secret_env: LINK_KEY }} }}` to the route"
        )),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use embedder::tables;
    use rowmill_ingest::route::Routes;

    #[test]
    fn only_signed_routes_have_links() {
        let error = |route| verification(route, tables::Routes::DESTINATIONS).unwrap_err();
        assert!(error("redir/lnk").starts_with("the schema has no route `redir/lnk`"));
        assert!(error("redir/listed").starts_with("the links of `redir/listed` are not signed"));
        assert!(verification("redir/link", tables::Routes::DESTINATIONS).is_ok());
    }
}
