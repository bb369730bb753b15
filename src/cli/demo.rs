//! `curb demo`: the safe-riding rules at work on simulated devices, with a broker in this process.

mod devices;
mod figures;
mod interrupt;
mod pack;
mod screen;
mod tally;
mod world;

#[cfg(test)]
mod tests;

use std::io::{self, IsTerminal, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use clap::Args;

use self::figures::{Figures, Outcome, Rates, TITLE};
use self::interrupt::stop_on_signal;
use self::screen::Screen;
use self::world::{PIPELINE, World, WorldSettings};
use super::http_args::HttpArgs;
use super::sql_limits::SqlLimitArgs;
use super::{Failure, duration};
use crate::engine::{Queries, StatusBoard};
use crate::server::{HttpOptions, ServeError, ServerHandle, serve_with};

/// Where HTTP is served unless told otherwise.
const HTTP_DEFAULT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8642);
/// How often a terminal is drawn.
const FRAME_INTERVAL: Duration = Duration::from_millis(250);
/// How often a line is written elsewhere.
const LINE_INTERVAL: Duration = Duration::from_secs(1);
/// How often a stop is looked for.
const LOOK_ON: Duration = Duration::from_millis(20);

/// Watch the safe-riding rules at work on simulated devices: no broker, no set-up
#[derive(Debug, Args)]
pub(super) struct DemoArgs {
    /// End after this time, as 10s or 2m; without it Ctrl-C ends the demo
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    exit_after: Option<Duration>,
    /// Records sent per second
    #[arg(long, value_name = "N", default_value_t = 500, value_parser = clap::value_parser!(u32).range(10..=20_000))]
    rate: u32,
    /// The same seed gives the same people and rides
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Where to serve HTTP [default: 127.0.0.1:8642, or a free port if that one is taken]
    #[arg(long, value_name = "ADDR")]
    http: Option<SocketAddr>,
    #[command(flatten)]
    http_options: HttpArgs,
    #[command(flatten)]
    sql: SqlLimitArgs,
}

pub(super) fn run(args: &DemoArgs) -> Result<(), Failure> {
    let stop = Arc::new(AtomicBool::new(false));
    stop_on_signal(stop.clone())?;
    let stdout = io::stdout();
    let is_terminal = stdout.is_terminal();
    let mut screen = Screen::new(stdout.lock(), is_terminal);
    let outcome = show(args, &stop, &mut screen)?;
    end_of_pipe(screen.write(&outcome.summary()))?;
    Ok(())
}

/// Runs a demo until its time is over, `stop` is set, or nobody looks any more; shows it on `screen`.
fn show<W: Write>(args: &DemoArgs, stop: &AtomicBool, screen: &mut Screen<W>) -> Result<Outcome, Failure> {
    let started = Instant::now();
    let mut world = World::start(WorldSettings { rate: args.rate, seed: args.seed })?;
    let options = args.http_options.options(None)?;
    let server = serve_http(args.http, &options, world.board(), Some(&world.queries(args.sql.limits())))?;
    let (began_at, time_zone) = (world.began_at(), world.time_zone());
    let scheme = if options.tls.is_some() { "https" } else { "http" };
    let places = format!("{scheme}://{}, Kafka at {}", server.address(), world.brokers());
    let mut view = View { screen, rates: Rates::new(started), first_action: None, shown_at: None, is_closed: false };
    view.open(&places)?;
    let is_over = || args.exit_after.is_some_and(|time| started.elapsed() >= time);
    while !stop.load(Ordering::Relaxed) && !is_over() && !view.is_closed {
        world.look_on(LOOK_ON).map_err(Failure::Failed)?;
        let (status, tally, elapsed) = (&world.board().snapshot(), world.tally(), started.elapsed());
        view.rates.update(status, Instant::now());
        let rates = &view.rates.clone();
        view.show(&Figures { status, tally, rates, elapsed, time_zone, places: &places })?;
    }
    let elapsed = started.elapsed();
    let first_action = view.first_action;
    let (status, tally) = world.finish().map_err(Failure::Failed)?;
    Ok(Outcome { status, tally, elapsed, first_action, began_at })
}

/// Whether the reader of a pipe has gone, who then has seen enough.
fn end_of_pipe(written: io::Result<()>) -> io::Result<bool> {
    match written {
        Err(e) if e.kind() == io::ErrorKind::BrokenPipe => Ok(true),
        other => other.map(|()| false),
    }
}

/// What was shown, and when.
struct View<'a, W: Write> {
    screen: &'a mut Screen<W>,
    rates: Rates,
    first_action: Option<Duration>,
    shown_at: Option<Instant>,
    /// Whether the reader of a pipe has gone.
    is_closed: bool,
}

impl<W: Write> View<'_, W> {
    /// Says what follows, where no frame does.
    fn open(&mut self, places: &str) -> io::Result<()> {
        if !self.screen.is_terminal() {
            self.is_closed = end_of_pipe(self.screen.write(&format!("{TITLE}\n{places}\n\n")))?;
        }
        Ok(())
    }

    /// Shows the figures if it is time, and at once when there is a first action.
    fn show(&mut self, figures: &Figures<'_>) -> io::Result<()> {
        let is_first_action = self.first_action.is_none() && figures.tally.n_records() > 0;
        let interval = if self.screen.is_terminal() { FRAME_INTERVAL } else { LINE_INTERVAL };
        let is_time = self.shown_at.is_none_or(|at| at.elapsed() >= interval);
        // Until there is an action a line would say nothing; a frame shows that the demo has begun.
        let is_worth_it = self.screen.is_terminal() || self.first_action.is_some();
        if !(is_first_action || is_time && is_worth_it) {
            return Ok(());
        }
        self.shown_at = Some(Instant::now());
        let shown = if self.screen.is_terminal() {
            self.screen.draw(&figures.frame())
        } else {
            self.screen.write(&figures.line())
        };
        self.is_closed = end_of_pipe(shown)?;
        if is_first_action {
            self.first_action = Some(figures.elapsed);
        }
        Ok(())
    }
}

/// Serves HTTP where asked; where nothing was asked and the usual port is taken, on a free one.
fn serve_http(
    asked: Option<SocketAddr>,
    options: &HttpOptions,
    board: &StatusBoard,
    queries: Option<&Queries>,
) -> Result<ServerHandle, Failure> {
    let at = |address| {
        let options = HttpOptions { address: Some(address), ..options.clone() };
        serve_with(&options, PIPELINE, board.clone(), queries.cloned())
    };
    let served = match (asked, at(asked.unwrap_or(HTTP_DEFAULT))) {
        (None, Err(ServeError::Bind { .. })) => at(SocketAddr::new(HTTP_DEFAULT.ip(), 0)),
        (_, served) => served,
    };
    served.map_err(|e| Failure::Configuration(e.into()))
}
