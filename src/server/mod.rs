//! What a worker says over HTTP: `/livez`, `/readyz`, `/metrics`, `/api/status`, and the console page at `/` with its
//! `/api/history`, `/api/refused`, `/api/rows` and `/api/map`.
//!
//! It reads the shared status and the measurements; `control.rs` alone asks for changes. It runs on a thread of its own, so
//! that a busy worker cannot keep it from answering, and a stalled one still has a history. Connections come through
//! `door.rs`, which bounds them; `access.rs` says who may ask what.

mod access;
mod answer;
mod assets;
mod control;
mod door;
mod exposition;
mod health;
mod history;
mod observed;
mod options;
mod pages;
mod process;
mod rate_limit;
mod rows;
mod sql;
mod tiles;
mod tls;
mod watched_file;
mod written;

#[cfg(test)]
mod tests;

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Instant;

use axum::Router;
use tokio::runtime::Builder;
use tokio::sync::oneshot;
use tokio::time::MissedTickBehavior;

use crate::engine::{Queries, StatusBoard};
use access::Access;
use door::{Door, PATIENCE, Peer};
use exposition::Exposition;
use pages::Served;
use tiles::{Tiles, content_security_policy};
use tls::Tls;

pub use control::REQUEST_HEADER;
pub use options::{AccessOptions, HttpOptions, TileOptions, TlsFiles};
pub use sql::RICH;

/// A running server; it ends when it is dropped.
#[derive(Debug)]
pub struct ServerHandle {
    address: SocketAddr,
    health_address: Option<SocketAddr>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// Why a server cannot run.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The address is taken or not this machine's: choose another.
    #[error("could not listen for HTTP on {address}: {source}")]
    Bind {
        /// The address asked for.
        address: SocketAddr,
        /// What the operating system says.
        source: std::io::Error,
    },
    /// A file of tokens, a certificate or its key cannot be used: change it.
    #[error("HTTP cannot be served: {0}")]
    Files(String),
    /// The thread could not be started.
    #[error("could not start the HTTP server: {0}")]
    Start(std::io::Error),
    /// Another recorder of measurements was installed in this process.
    #[error("could not collect measurements: {0}")]
    Measurements(String),
}

/// Begins to collect measurements, so that also those are seen that come before the server runs.
pub fn collect_measurements() -> Result<(), ServeError> {
    Exposition::installed().map(|_| ())
}

/// Serves the status of `pipeline` on `address`, whose port may be 0 for any free one. It listens when this returns.
pub fn serve(address: SocketAddr, pipeline: &str, board: StatusBoard) -> Result<ServerHandle, ServeError> {
    serve_with(&HttpOptions::at(address), pipeline, board, None)
}

/// The same as the options say, with the answers of `queries` to SQL.
pub fn serve_with(
    options: &HttpOptions,
    pipeline: &str,
    board: StatusBoard,
    queries: Option<Queries>,
) -> Result<ServerHandle, ServeError> {
    let bind = |address: SocketAddr| TcpListener::bind(address).map_err(|source| ServeError::Bind { address, source });
    let main = options.address.map(bind).transpose()?;
    let health = options.health.map(bind).transpose()?;
    let access = Access::new(&options.access).map_err(ServeError::Files)?;
    let tiles = options.tiles.as_ref().map(Tiles::new).transpose().map_err(ServeError::Files)?;
    let tls = options.tls.as_ref().map(Tls::new).transpose().map_err(ServeError::Files)?;
    if let Some(address) = options.address
        && !address.ip().to_canonical().is_loopback()
        && !access.is_restricted()
    {
        tracing::warn!(
            %address,
            "HTTP is served without authentication: whoever reaches the port may see what the pipeline is doing. \
             /api/sql, pause and resume are for callers on this machine. --http-token-file or --http-user-header changes that"
        );
    }
    let served = Served {
        pipeline: pipeline.into(),
        board,
        exposition: Exposition::installed()?,
        history: Arc::default(),
        began: Instant::now(),
        access: Arc::new(access),
        policy: content_security_policy(tiles.as_ref()),
        tiles: tiles.map(Arc::new),
        queries,
    };
    let has_tls = tls.is_some();
    let handle = start(main, health, tls, served).map_err(ServeError::Start)?;
    if options.address.is_some() {
        tracing::info!(address = %handle.address, has_tls, "serving HTTP");
    }
    if let Some(address) = handle.health_address {
        tracing::info!(%address, "serving health and measurements");
    }
    Ok(handle)
}

fn start(
    main: Option<TcpListener>,
    health: Option<TcpListener>,
    tls: Option<Tls>,
    served: Served,
) -> std::io::Result<ServerHandle> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let address = |listener: &Option<TcpListener>| listener.as_ref().map(TcpListener::local_addr).transpose();
    let (main_address, health_address) = (address(&main)?, address(&health)?);
    let address = main_address.or(health_address).ok_or(std::io::ErrorKind::AddrNotAvailable)?;
    let (main, health) = {
        let _entered = runtime.enter();
        let tls = tls.map(Arc::new);
        let main = main.map(|listener| Door::open(listener, tls, PATIENCE)).transpose()?;
        (main, health.map(|listener| Door::open(listener, None, PATIENCE)).transpose()?)
    };
    let has_measurements = health.is_none() || !served.access.is_restricted();
    let (stop, stopped) = oneshot::channel::<()>();
    let run = move || {
        runtime.block_on(async move {
            tokio::select! {
                () = at_door(main, pages::router(served.clone(), has_measurements)) => {}
                () = at_door(health, pages::health_router(served.clone())) => {}
                () = keep_history(&served) => {}
                _ = stopped => {}
            }
        });
    };
    let thread = std::thread::Builder::new().name("curb-http".to_owned()).spawn(run)?;
    Ok(ServerHandle { address, health_address, stop: Some(stop), thread: Some(thread) })
}

/// Answers who comes through a door, for ever.
async fn at_door(door: Option<Door>, router: Router) {
    let Some(door) = door else { return std::future::pending().await };
    if let Err(error) = axum::serve(door, router.into_make_service_with_connect_info::<Peer>()).await {
        tracing::error!(%error, "the HTTP server has ended");
    }
}

/// Takes a sample at every step, for as long as it is polled.
async fn keep_history(served: &Served) {
    let mut steps = tokio::time::interval(history::STEP);
    steps.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        steps.tick().await;
        served.sample();
    }
}

impl ServerHandle {
    /// Where it serves everything; where it serves health and measurements if it serves nothing else.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where it serves health and measurements besides.
    pub fn health_address(&self) -> Option<SocketAddr> {
        self.health_address
    }
}

impl Drop for ServerHandle {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the HTTP server has panicked");
        }
    }
}
