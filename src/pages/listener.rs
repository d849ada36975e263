//! The operator's listener: the pages on an address of their own, which no flood of events reaches.

use std::{error::Error, future::pending, io, net::SocketAddr, path::Path, sync::Arc};

use http::HeaderName;
use rowmill_ingest::server::{ServeOptions as Bounds, not_found, serve};
use tokio::{net::TcpListener, task::AbortHandle};
use tower::{Layer, service_fn};

use super::{
    PagesLayer,
    access::{Access, Audience, Others, Token},
};
use crate::{
    cli::{AdminListen, NetworkOptions},
    handover::Handover,
};

/// More connections than an operator's tools open. They do not count among those of senders.
const MAX_CONNECTIONS: usize = 64;

/// The operator's listener, which ends when it is dropped.
#[derive(Debug)]
pub(crate) struct AdminListener(AbortHandle);

/// Returns who sees the operator's pages on the listener of the events.
pub(crate) fn public_access(options: &NetworkOptions, token: Option<Token>) -> Access {
    let (audience, others) = match options.admin_listen {
        AdminListen::Local => (Audience::ThisMachine, Others::Status),
        AdminListen::Public if token.is_some() => (Audience::Nobody, Others::Status),
        AdminListen::Public => (Audience::Everyone, Others::Status),
        AdminListen::Off => (Audience::Nobody, Others::Status),
        AdminListen::At(_) => (Audience::Nobody, Others::NotFound),
    };
    Access {
        audience,
        token,
        others,
        client_header: options.client_address_header.clone(),
    }
}

/// Reads the token of the operator from the file of `--admin-token-file`, if there is one.
pub(crate) fn token(file: Option<&Path>) -> Result<Option<Token>, String> {
    file.map(|file| Token::read("--admin-token-file", file)).transpose()
}

impl AdminListener {
    /// Starts the operator's listener, if the options name its address. Whoever has the token sees
    /// its pages; without a token, every client.
    ///
    /// # Errors
    /// The address is in use, or does not belong to this machine.
    pub(crate) async fn start(
        options: &NetworkOptions,
        token: Option<Token>,
        pages: &PagesLayer,
        handover: Option<Handover>,
    ) -> Result<Option<Self>, Box<dyn Error>> {
        let AdminListen::At(address) = options.admin_listen else {
            return Ok(None);
        };
        let listening = Self::at(address, token, pages, handover).await;
        Ok(Some(
            listening
                .map_err(|error| format!("cannot listen on {address} for --admin-listen: {error}"))?
                .0,
        ))
    }

    /// Starts the operator's listener on an address, and returns the address with its port. `handover`
    /// takes the rows of other collectors.
    ///
    /// # Errors
    /// The address is in use, or does not belong to this machine.
    pub(crate) async fn at(
        address: SocketAddr,
        token: Option<Token>,
        pages: &PagesLayer,
        handover: Option<Handover>,
    ) -> io::Result<(Self, SocketAddr)> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        if !address.ip().is_loopback() && token.is_none() {
            tracing::warn!(
                "the operator's pages are open to everyone who reaches {address}: name a token with \
                 --admin-token-file, or listen on 127.0.0.1"
            );
        }
        let pages = pages.with_access(match token {
            Some(_) => Access {
                audience: Audience::Nobody,
                token,
                others: Others::Unauthorized,
                client_header: None::<HeaderName>,
            },
            None => Access::open(),
        });
        let bounds = Bounds {
            max_connections: MAX_CONNECTIONS,
            ..Bounds::default()
        };
        let handover = Arc::new(handover);
        let service_for = move |_: SocketAddr| {
            let handover = Arc::clone(&handover);
            let inner = move |request| {
                let handover = Arc::clone(&handover);
                async move {
                    match &*handover {
                        Some(handover) => Ok(handover.answer(request).await),
                        None => not_found(request).await,
                    }
                }
            };
            pages.layer(service_fn(inner))
        };
        let serving = tokio::spawn(serve(listener, service_for, bounds, pending()));
        tracing::info!("the operator's pages are on http://{address}");
        Ok((Self(serving.abort_handle()), address))
    }
}

impl Drop for AdminListener {
    fn drop(&mut self) {
        self.0.abort();
    }
}
