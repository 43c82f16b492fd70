//! Many connections that send a byte at a time.

use std::io::{self, Write};
use std::net::{SocketAddr, TcpStream};

/// Connections that drip; driven by [`Drip::round`], they need no thread.
#[derive(Debug)]
pub struct Drip {
    streams: Vec<Option<TcpStream>>,
    text: Vec<u8>,
    next: usize,
}

/// Opens `count` connections to `address` that will send `text`, one byte a round.
///
/// # Errors
/// What `connect(2)` says for the first that fails.
pub fn drip(address: SocketAddr, count: usize, text: &[u8]) -> io::Result<Drip> {
    let open = || {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        Ok(Some(stream))
    };
    let streams = (0..count).map(|_| open()).collect::<io::Result<_>>()?;
    Ok(Drip { streams, text: text.to_vec(), next: 0 })
}

impl Drip {
    /// Sends the next byte of the text on every connection (beginning again after the last one) and says how many
    /// connections are left: those that the server has closed drop out when a send fails.
    pub fn round(&mut self) -> usize {
        let byte = self.text.get(self.next..=self.next).unwrap_or_default();
        for place in &mut self.streams {
            let Some(stream) = place else { continue };
            match stream.write(byte) {
                Ok(_) => {}
                // A full socket keeps the connection; its byte is lost, which a dripper does not mind.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_closed) => *place = None,
            }
        }
        self.next = (self.next + 1) % self.text.len().max(1);
        self.left()
    }

    /// Connections that are open as far as we know.
    #[must_use]
    pub fn left(&self) -> usize {
        self.streams.iter().flatten().count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::net::TcpListener;

    #[test]
    fn sends_a_byte_a_round() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
        let mut drip = drip(listener.local_addr().expect("bound"), 3, b"abc").expect("connects");
        let mut served: Vec<TcpStream> =
            (0..3).map(|_| listener.accept().expect("three connections").0).collect();
        for expected in [b"a", b"b", b"c", b"a"] {
            assert_eq!(drip.round(), 3);
            for stream in &mut served {
                let mut byte = [0];
                stream.read_exact(&mut byte).expect("a byte a round");
                assert_eq!(&byte, expected);
            }
        }
    }
}
