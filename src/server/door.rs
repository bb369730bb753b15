//! The door through which connections come: how many there may be, how long one may take to ask, and encryption.
//!
//! A request must have been read and answered within [`PATIENCE`], and its answer be taken, or [`TAKEN_BYTES_MIN`] of it: a client
//! that sends a byte now and then, or takes one, holds a place and an answer for so long and no longer.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::{Instant, Sleep, sleep, timeout};
use tokio_rustls::server::TlsStream;

use super::rate_limit::network;
use super::tls::Tls;

/// Connections that are open at a time; others are closed at once.
const CONNECTIONS_MAX: usize = 256;
/// Connections of one address, which may be that of a proxy.
const CONNECTIONS_PER_CLIENT_MAX: usize = 128;
/// From the first byte of a request to the first of its answer, from there to the next request, and for so much of an answer.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);
/// Bytes of an answer that a client must take in [`PATIENCE`]: 35 kB a second.
const TAKEN_BYTES_MIN: usize = 2 << 20;
/// How long it may take to agree on encryption.
const HANDSHAKE_PATIENCE: Duration = Duration::from_secs(10);
/// How long to wait where no connection can be taken, as when there are no more file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Where a request comes from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer(pub(super) SocketAddr);

impl Connected<IncomingStream<'_, Door>> for Peer {
    fn connect_info(stream: IncomingStream<'_, Door>) -> Self {
        Self(*stream.remote_addr())
    }
}

/// Gives connections that are ready to be read.
pub(super) struct Door {
    address: SocketAddr,
    arrivals: mpsc::Receiver<(Connection, SocketAddr)>,
}

impl Door {
    /// Takes connections of a listener from now on, on the runtime that this is called in.
    pub(super) fn open(listener: std::net::TcpListener, tls: Option<Arc<Tls>>, patience: Duration) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let listener = TcpListener::from_std(listener)?;
        let (ready, arrivals) = mpsc::channel(16);
        tokio::spawn(take_connections(listener, tls, patience, ready));
        Ok(Self { address, arrivals })
    }
}

impl Listener for Door {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        match self.arrivals.recv().await {
            Some(arrival) => arrival,
            // The task that takes connections ends with the runtime only.
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.address)
    }
}

async fn take_connections(
    listener: TcpListener,
    tls: Option<Arc<Tls>>,
    patience: Duration,
    ready: mpsc::Sender<(Connection, SocketAddr)>,
) {
    let places = Places::default();
    while !ready.is_closed() {
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::debug!(%error, "could not take a connection");
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Some(place) = places.take(network(peer.ip())) else {
            tracing::debug!(%peer, "too many connections; closed one more");
            continue;
        };
        // Answers are small and should leave at once.
        let _ = stream.set_nodelay(true);
        let Some(tls) = &tls else {
            if ready.send((Connection::new(Stream::Plain(stream), patience, place), peer)).await.is_err() {
                return;
            }
            continue;
        };
        // Each on its own: a client that does not go on holds up no other.
        let (acceptor, ready) = (tls.acceptor(), ready.clone());
        tokio::spawn(async move {
            match timeout(HANDSHAKE_PATIENCE, acceptor.accept(stream)).await {
                Ok(Ok(stream)) => {
                    drop(ready.send((Connection::new(Stream::Tls(stream.into()), patience, place), peer)).await)
                }
                Ok(Err(error)) => tracing::debug!(%peer, %error, "could not agree on encryption"),
                Err(_) => tracing::debug!(%peer, "took too long to agree on encryption"),
            }
        });
    }
}

/// The connections that are open, by address.
#[derive(Clone, Default)]
struct Places {
    taken: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

/// The place of one connection, given back when it is dropped.
struct Place {
    places: Places,
    client: IpAddr,
}

impl Places {
    fn take(&self, client: IpAddr) -> Option<Place> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if taken.values().sum::<usize>() >= CONNECTIONS_MAX
            || taken.get(&client).is_some_and(|n| *n >= CONNECTIONS_PER_CLIENT_MAX)
        {
            return None;
        }
        *taken.entry(client).or_default() += 1;
        Some(Place { places: self.clone(), client })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(n) = taken.get_mut(&self.client) {
            *n -= 1;
            if *n == 0 {
                taken.remove(&self.client);
            }
        }
    }
}

enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// A connection that does not wait for ever.
pub(super) struct Connection {
    stream: Stream,
    patience: Duration,
    deadline: Pin<Box<Sleep>>,
    /// Whether nothing has been read since the last answer.
    is_between: bool,
    /// Bytes of the answer that were taken since it was last waited anew.
    n_taken: usize,
    _place: Place,
}

impl Connection {
    fn new(stream: Stream, patience: Duration, place: Place) -> Self {
        Self { stream, patience, deadline: Box::pin(sleep(patience)), is_between: true, n_taken: 0, _place: place }
    }

    fn wait_anew(&mut self) {
        self.deadline.as_mut().reset(Instant::now() + self.patience);
    }

    /// What to say where nothing can be read or written at the moment.
    fn pending<T>(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        match self.deadline.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl AsyncRead for Connection {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let read = match &mut this.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_read(cx, into),
            Stream::Tls(stream) => Pin::new(stream).poll_read(cx, into),
        };
        if read.is_pending() {
            return this.pending(cx);
        }
        // A request begins.
        if std::mem::take(&mut this.is_between) {
            this.wait_anew();
        }
        read
    }
}

impl AsyncWrite for Connection {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = match &mut this.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Stream::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        };
        if written.is_pending() {
            return this.pending(cx);
        }
        // An answer begins, or goes on as fast as it must.
        if let Poll::Ready(Ok(n)) = &written {
            this.n_taken += n;
        }
        if !std::mem::replace(&mut this.is_between, true) || this.n_taken >= TAKEN_BYTES_MIN {
            this.n_taken = 0;
            this.wait_anew();
        }
        written
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let flushed = match &mut this.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Stream::Tls(stream) => Pin::new(stream).poll_flush(cx),
        };
        if flushed.is_pending() { this.pending(cx) } else { flushed }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let shut = match &mut this.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Stream::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        };
        if shut.is_pending() { this.pending(cx) } else { shut }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[test]
    fn places_are_given_back_and_one_client_cannot_take_them_all() {
        let places = Places::default();
        let (greedy, other) = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]));
        let mut held: Vec<Place> = (0..CONNECTIONS_PER_CLIENT_MAX).map(|_| places.take(greedy).unwrap()).collect();
        assert!(places.take(greedy).is_none());
        let more: Vec<Place> = std::iter::from_fn(|| places.take(other)).collect();
        assert_eq!(held.len() + more.len(), CONNECTIONS_MAX);
        assert!(places.take(IpAddr::from([10, 0, 0, 3])).is_none(), "all are taken");
        held.pop();
        assert!(places.take(greedy).is_some());
        drop((held, more));
        assert!(places.taken.lock().unwrap().is_empty());
    }

    #[tokio::test]
    async fn a_connection_that_asks_nothing_is_closed() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let mut door = Door::open(listener, None, Duration::from_millis(50)).unwrap();
        let _client = TcpStream::connect(door.address).await.unwrap();
        let (mut connection, _) = door.accept().await;
        let mut bytes = [0; 8];
        let read = std::future::poll_fn(|cx| {
            Pin::new(&mut connection).poll_read(cx, &mut ReadBuf::new(&mut bytes)).map(|r| r.map_err(|e| e.kind()))
        });
        assert_eq!(read.await, Err(io::ErrorKind::TimedOut));
    }

    #[tokio::test]
    async fn an_answer_that_is_taken_byte_by_byte_is_given_up() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let mut door = Door::open(listener, None, Duration::from_millis(400)).unwrap();
        let mut client = TcpStream::connect(door.address).await.unwrap();
        let (mut connection, _) = door.accept().await;
        client.write_all(b"GET").await.unwrap();
        connection.read_exact(&mut [0; 3]).await.unwrap();
        let began = Instant::now();
        let taking = async {
            let mut some = [0; 4096];
            while client.read(&mut some).await.is_ok_and(|n| n > 0) {
                sleep(Duration::from_millis(20)).await;
            }
        };
        let answering = async {
            let part = [0; 64 << 10];
            loop {
                if let Err(error) = connection.write_all(&part).await {
                    break error.kind();
                }
            }
        };
        tokio::select! {
            kind = answering => assert_eq!(kind, io::ErrorKind::TimedOut),
            () = taking => panic!("nobody hung up"),
        }
        assert!(began.elapsed() < Duration::from_secs(20));
    }

    #[tokio::test]
    async fn an_answer_that_is_taken_swiftly_may_be_as_long_as_it_is() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let mut door = Door::open(listener, None, Duration::from_millis(500)).unwrap();
        let mut client = TcpStream::connect(door.address).await.unwrap();
        let (mut connection, _) = door.accept().await;
        client.write_all(b"GET").await.unwrap();
        connection.read_exact(&mut [0; 3]).await.unwrap();
        let taking = tokio::spawn(async move {
            let mut some = vec![0; 1 << 20];
            let mut n = 0;
            while n < 64 << 20 {
                n += client.read(&mut some).await.unwrap();
            }
        });
        let (part, began) = (vec![0; 1 << 20], Instant::now());
        for _ in 0..64 {
            connection.write_all(&part).await.unwrap();
            sleep(Duration::from_millis(15)).await;
        }
        assert!(began.elapsed() > Duration::from_millis(500), "longer than what is waited for one part");
        taking.await.unwrap();
    }
}
