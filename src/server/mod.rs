//! What a worker says over HTTP: `/livez`, `/readyz`, `/metrics`, `/api/status`, and the console page at `/` with its
//! `/api/history` and `/api/refused`.
//!
//! It reads the shared status and the measurements; `control.rs` alone asks for changes. It runs on a thread of its own, so
//! that a busy worker cannot keep it from answering, and a stalled one still has a history.

mod answer;
mod assets;
mod control;
mod exposition;
mod health;
mod history;
mod observed;
mod pages;
mod process;

#[cfg(test)]
mod tests;

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Instant;

use tokio::runtime::Builder;
use tokio::sync::oneshot;
use tokio::time::MissedTickBehavior;

use crate::engine::StatusBoard;
use exposition::Exposition;
use pages::Served;

pub use control::REQUEST_HEADER;

/// A running server; it ends when it is dropped.
#[derive(Debug)]
pub struct ServerHandle {
    address: SocketAddr,
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
    let listener = TcpListener::bind(address).map_err(|source| ServeError::Bind { address, source })?;
    let exposition = Exposition::installed()?;
    let served =
        Served { pipeline: pipeline.into(), board, exposition, history: Arc::default(), began: Instant::now() };
    let handle = start(listener, served).map_err(ServeError::Start)?;
    tracing::info!(address = %handle.address, "serving HTTP");
    Ok(handle)
}

fn start(listener: TcpListener, served: Served) -> std::io::Result<ServerHandle> {
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let listener = {
        let _entered = runtime.enter();
        tokio::net::TcpListener::from_std(listener)?
    };
    let (stop, stopped) = oneshot::channel::<()>();
    let router = pages::router(served.clone());
    let run = move || {
        runtime.block_on(async move {
            tokio::select! {
                served = async { axum::serve(listener, router.into_make_service_with_connect_info::<SocketAddr>()).await } => {
                    if let Err(error) = served {
                        tracing::error!(%error, "the HTTP server has ended");
                    }
                }
                () = keep_history(&served) => {}
                _ = stopped => {}
            }
        });
    };
    let thread = std::thread::Builder::new().name("curb-http".to_owned()).spawn(run)?;
    Ok(ServerHandle { address, stop: Some(stop), thread: Some(thread) })
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
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
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
