//! A directory of files, served from a program of one's own: `cargo run --example serve -- DIR`.

use ringway::listen;
use ringway::serve::Serve;
use std::time::Duration;

fn main() -> Result<(), String> {
    let mut serve = Serve::new(std::env::args().nth(1).unwrap_or_else(|| ".".to_owned()));
    serve.listen = listen::parse("8080")?;
    serve.limits.idle_ms_max = 20_000;
    let server = serve.start()?;
    for address in server.addresses() {
        eprintln!("serving at {}", listen::url(address));
    }
    let totals = server.wait(Duration::from_secs(10))?;
    eprintln!("{} connections served", totals.accepted);
    Ok(())
}
