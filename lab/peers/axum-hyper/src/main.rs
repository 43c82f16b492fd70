//! The application on hyper, as axum serves it: `axum-hyper [--port N] [--workers N] [--redis URL]`, on the loopback.

mod app;

use std::error::Error;
use std::process::ExitCode;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("axum-hyper: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let port: u16 = option("--port", "8081").parse()?;
    let workers: usize = option("--workers", "1").parse()?;
    let redis = option("--redis", "redis://127.0.0.1:6379/");
    let router = app::plain().merge(app::counting(&redis)?).nest("/tokio", app::counting(&redis)?);
    // One worker is a thread of its own, without a scheduler for several.
    let mut builder = match workers {
        1 => tokio::runtime::Builder::new_current_thread(),
        _ => tokio::runtime::Builder::new_multi_thread(),
    };
    let runtime = builder.worker_threads(workers.max(1)).enable_all().build()?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await?;
        eprintln!("listening on {}", listener.local_addr()?);
        use axum::serve::ListenerExt;
        axum::serve(listener.tap_io(|stream| drop(stream.set_nodelay(true))), router).await?;
        Ok(())
    })
}

/// The value of an option, or what holds without it.
fn option(name: &str, otherwise: &str) -> String {
    let mut arguments = std::env::args().skip_while(|argument| argument != name).skip(1);
    arguments.next().unwrap_or_else(|| otherwise.to_owned())
}
