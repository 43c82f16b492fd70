//! A directory of files, served from a program of one's own: `cargo run --example serve -- DIR ADDRESS`.

use ringway::listen;
use ringway::serve::Serve;
use std::time::Duration;

fn main() -> Result<(), String> {
    let mut words = std::env::args().skip(1);
    let mut serve = Serve::new(words.next().unwrap_or_else(|| ".".to_owned()));
    serve.listen = listen::parse(&words.next().unwrap_or_else(|| "8080".to_owned()))?;
    serve.limits.idle_ms_max = 20_000;
    let server = serve.start()?;
    server.addresses().iter().for_each(|address| eprintln!("serving at {}", listen::url(address, false)));

    eprintln!("Enter stops");
    std::io::stdin().read_line(&mut String::new()).map_err(|error| error.to_string())?;
    server.drain(Duration::from_secs(10));
    let totals = server.wait(Duration::from_secs(10))?;
    eprintln!("{} connections served", totals.accepted);
    Ok(())
}
