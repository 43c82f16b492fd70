//! TLS towards a server for those who may block: the rare request of a thread of its own.

use crate::client::TlsClient;
use crate::problem::Problem;
use rustls::pki_types::ServerName;
use rustls::{ClientConnection, StreamOwned};
use std::fmt;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

/// A connection to a server, read and written as any other.
pub struct BlockingTls(StreamOwned<ClientConnection, TcpStream>);

impl TlsClient {
    /// TLS over `socket` to the server of this name or address. The handshake is done with the first bytes; `socket`'s own
    /// time limits hold.
    ///
    /// # Errors
    /// `Refused` when the name is none.
    pub fn connect(&self, server: &str, socket: TcpStream) -> Result<BlockingTls, Problem> {
        let name = ServerName::try_from(server.to_owned());
        let name = name.map_err(|_no_name| Problem::Refused(format!("{server} is no name of a server")))?;
        let connection = ClientConnection::new(Arc::clone(&self.config), name);
        let connection = connection.map_err(|error| Problem::Refused(error.to_string()))?;
        Ok(BlockingTls(StreamOwned::new(connection, socket)))
    }
}

impl Read for BlockingTls {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Write for BlockingTls {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl fmt::Debug for BlockingTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BlockingTls")
    }
}
