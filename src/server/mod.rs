//! What a worker says over HTTP: `/livez`, `/readyz`, `/metrics`, `/api/status`, and a page that links them.
//!
//! It reads the shared status and the measurements; `control.rs` alone asks for changes. It runs on a thread of its own, so that a busy worker
//! cannot keep it from answering.

mod answer;
mod control;
mod exposition;
mod pages;

#[cfg(test)]
mod tests;

use std::net::{SocketAddr, TcpListener};
use std::thread::JoinHandle;

use tokio::runtime::Builder;
use tokio::sync::oneshot;

use crate::engine::StatusBoard;
use exposition::Exposition;

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

/// Serves the status of `pipeline` on `address`, whose port may be 0 for any free one. It listens when this returns.
pub fn serve(address: SocketAddr, pipeline: &str, board: StatusBoard) -> Result<ServerHandle, ServeError> {
    let listener = TcpListener::bind(address).map_err(|source| ServeError::Bind { address, source })?;
    let exposition = Exposition::installed()?;
    let router = pages::router(pages::Served { pipeline: pipeline.into(), board, exposition });
    let handle = start(listener, router).map_err(ServeError::Start)?;
    tracing::info!(address = %handle.address, "serving HTTP");
    Ok(handle)
}

fn start(listener: TcpListener, router: axum::Router) -> std::io::Result<ServerHandle> {
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let listener = {
        let _entered = runtime.enter();
        tokio::net::TcpListener::from_std(listener)?
    };
    let (stop, stopped) = oneshot::channel::<()>();
    let run = move || {
        runtime.block_on(async move {
            tokio::select! {
                served = async { axum::serve(listener, router.into_make_service_with_connect_info::<SocketAddr>()).await } => {
                    if let Err(error) = served {
                        tracing::error!(%error, "the HTTP server has ended");
                    }
                }
                _ = stopped => {}
            }
        });
    };
    let thread = std::thread::Builder::new().name("curb-http".to_owned()).spawn(run)?;
    Ok(ServerHandle { address, stop: Some(stop), thread: Some(thread) })
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
