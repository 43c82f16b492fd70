//! What a program has done on each worker, at its beginning and its end.

use std::ffi::c_void;
use std::fmt;

/// Called at a worker's beginning: not 0, and it cannot begin.
pub type Start = unsafe extern "C" fn(data: *mut c_void) -> i32;

/// Called at its end.
pub type Stop = unsafe extern "C" fn(data: *mut c_void);

/// Functions of the program, with its word.
#[derive(Clone, Copy)]
pub struct Hook {
    start: Option<Start>,
    stop: Option<Stop>,
    data: *mut c_void,
}

// SAFETY: the header has the word good on any thread (I3).
unsafe impl Send for Hook {}
// SAFETY: as above (I3).
unsafe impl Sync for Hook {}

impl Hook {
    pub(crate) fn new(start: Option<Start>, stop: Option<Stop>, data: *mut c_void) -> Self {
        Self { start, stop, data }
    }

    /// Begins on this worker.
    ///
    /// # Errors
    /// The number that the program says.
    pub fn start(&self) -> Result<(), i32> {
        ringway_plugin::note_worker();
        let Some(start) = self.start else { return Ok(()) };
        // SAFETY: the program's function, with the word that came with it (I3).
        match unsafe { start(self.data) } {
            0 => Ok(()),
            code => Err(code),
        }
    }

    /// Ends on this worker.
    pub fn stop(&self) {
        if let Some(stop) = self.stop {
            // SAFETY: the program's function, with the word that came with it (I3).
            unsafe { stop(self.data) };
        }
    }
}

impl fmt::Debug for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hook").finish_non_exhaustive()
    }
}
