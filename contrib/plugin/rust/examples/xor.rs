//! A stream filter: every byte on the wire is the byte of the protocol XOR a key, in both directions.

use ringway_sdk::{Broken, Filtered, Setup, StreamFilter};

struct Xor {
    key: u8,
}

impl StreamFilter for Xor {
    type State = ();

    fn create(setup: &Setup<'_>) -> Result<Self, String> {
        let text = if setup.config().is_empty() { "90" } else { setup.config() };
        let key = text.parse().map_err(|_no_number| format!("the key is a number from 1 to 255, not {text}"))?;
        Ok(Self { key })
    }

    fn accept(&self, _stream: &mut Filtered<'_>) -> Option<()> {
        Some(())
    }

    fn read(&self, stream: &mut Filtered<'_>, (): &mut (), bytes: &mut [u8]) -> Result<usize, Broken> {
        bytes.iter_mut().for_each(|byte| *byte ^= self.key);
        stream.up(bytes)?;
        Ok(bytes.len())
    }

    fn write(&self, stream: &mut Filtered<'_>, (): &mut (), bytes: &mut [u8]) -> Result<usize, Broken> {
        bytes.iter_mut().for_each(|byte| *byte ^= self.key);
        stream.down(bytes)?;
        Ok(bytes.len())
    }
}

ringway_sdk::export!("xor"; filter: Xor);
