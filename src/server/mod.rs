//! What a worker says over HTTP: `/livez`, `/readyz`, `/metrics`, `/api/status`, and a page that links them.
//!
//! It reads the shared status and the measurements and changes nothing. It runs on a thread of its own, so that a busy worker
//! cannot keep it from answering.

mod answer;
mod exposition;
mod pages;

#[cfg(test)]
mod tests;

use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};

use crate::engine::StatusBoard;
use exposition::Exposition;

/// Requests under way when the server ends may take this long.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(1);

/// A running server; it ends when it is dropped.
#[derive(Debug)]
pub struct ServerHandle {
    address: SocketAddr,
    runtime: Option<Runtime>,
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
    let start = |listener: TcpListener| {
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let runtime = Builder::new_multi_thread().worker_threads(1).thread_name("curb-http").enable_all().build()?;
        let listener = {
            let _entered = runtime.enter();
            tokio::net::TcpListener::from_std(listener)?
        };
        Ok((address, runtime, listener))
    };
    let (address, runtime, listener) = start(listener).map_err(ServeError::Start)?;
    let router = pages::router(pages::Served { pipeline: pipeline.into(), board, exposition });
    runtime.spawn(async move {
        if let Err(error) = axum::serve(listener, router).await {
            tracing::error!(%error, "the HTTP server has ended");
        }
    });
    tracing::info!(%address, "serving HTTP");
    Ok(ServerHandle { address, runtime: Some(runtime) })
}

impl ServerHandle {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for ServerHandle {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_timeout(SHUTDOWN_TIMEOUT);
        }
    }
}
