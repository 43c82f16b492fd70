//! A shared library, from its file to its tables.

use crate::abi::{self, Kind};
use crate::census;
use crate::elf;
use crate::error::{LoadError, Problem};
use crate::mapping::Mapping;
use crate::tables::{ConnectionTable, Requests, Tables};
use std::ffi::c_void;
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::ptr;
use std::sync::Arc;

/// Largest file that is loaded, in bytes.
pub const LIBRARY_BYTES_MAX: u64 = 1024 * 1024 * 1024;

/// A library that is loaded and has said what it is. Clones are the same one; with the last of them, and the last instance, it is
/// closed, which unmaps it if it can be.
#[derive(Clone)]
pub struct Library(Arc<Loaded>);

pub(crate) struct Loaded {
    path: PathBuf,
    pub(crate) number: u64,
    pub(crate) tables: Tables,
    /// The instance, where there is one already and nothing makes it.
    pub(crate) given: *mut c_void,
    /// Dropped last.
    _place: Place,
}

/// Where a library's code is.
enum Place {
    /// In a file that was mapped for it.
    #[expect(dead_code, reason = "it is there to be dropped")]
    Mapped(Mapping),
    /// In the program itself, where it stays.
    #[expect(dead_code, reason = "it is there to be dropped")]
    Program(InProgram),
}

/// The entry in the census of a library that is the program's own.
struct InProgram(u64);

impl Drop for InProgram {
    fn drop(&mut self) {
        census::closed(self.0, false);
    }
}

// SAFETY: tables are constants of the library, which stays loaded as long as they are here (I2, I3).
unsafe impl Send for Loaded {}
// SAFETY: as above (I2, I3).
unsafe impl Sync for Loaded {}

impl Library {
    /// Loads the library at `path` from a copy of its own, so that a file that is replaced is another library. What it does
    /// when it is loaded (constructors) and its entry run on this thread.
    ///
    /// This maps code, which a process that is confined may not do any more: it is for before.
    ///
    /// # Errors
    /// [`LoadError`] names the file and what is wrong with it.
    pub fn open(path: &Path) -> Result<Self, LoadError> {
        Self::load(path).map_err(|problem| LoadError::new(path, problem))
    }

    fn load(path: &Path) -> Result<Self, Problem> {
        let bytes = read(path)?;
        elf::check(&bytes).map_err(Problem::NotALibrary)?;
        let number = census::open(path, bytes.len() as u64)?;
        let mapping = Mapping::new(path, &bytes, number).inspect_err(|_problem| census::refused(number))?;
        let tables = Tables::of(mapping.entry)?;
        Ok(Self::made(path, number, tables, ptr::null_mut(), Place::Mapped(mapping)))
    }

    /// A library that is linked into the program, by the function that one in a file has as its symbol. `name` stands in messages
    /// where a file would.
    ///
    /// # Errors
    /// [`LoadError`] names it and what is wrong with it.
    ///
    /// # Safety
    /// `entry` is what the header says of `ringway_plugin_entry`, and so is what it gives.
    pub unsafe fn of_program(entry: abi::Entry, name: &str) -> Result<Self, LoadError> {
        Self::in_program(name, ptr::null_mut(), || Tables::of(entry))
    }

    /// A table of the program's that answers requests, and the instance that its functions are given.
    ///
    /// # Errors
    /// [`LoadError`] names it and what is wrong with it.
    ///
    /// # Safety
    /// `handler` is null, or a table as the header asks, which stays with all it points to. `instance` is good on any thread for
    /// as long as there are instances of the library.
    pub unsafe fn of_handler(
        handler: *const abi::RequestHandler,
        instance: *mut c_void,
        name: &str,
    ) -> Result<Self, LoadError> {
        Self::in_program(name, instance, || Tables::of_handler(handler, name))
    }

    fn in_program(
        name: &str,
        given: *mut c_void,
        tables: impl FnOnce() -> Result<Tables, Problem>,
    ) -> Result<Self, LoadError> {
        let path = Path::new(name);
        let made = census::open(path, 0).and_then(|number| {
            let place = Place::Program(InProgram(number));
            Ok(Self::made(path, number, tables()?, given, place))
        });
        made.map_err(|problem| LoadError::new(path, problem))
    }

    fn made(path: &Path, number: u64, tables: Tables, given: *mut c_void, place: Place) -> Self {
        census::named(number, &tables.name, &tables.version);
        Self(Arc::new(Loaded { path: path.to_owned(), number, tables, given, _place: place }))
    }

    /// The file it was loaded from. What is there by now may be another version.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0.path
    }

    /// Its number in the [`census`].
    #[must_use]
    pub fn number(&self) -> u64 {
        self.0.number
    }

    /// What it calls itself.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.tables.name
    }

    /// Its version, as it says.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.0.tables.version
    }

    /// The kinds of plug-in that it is.
    #[must_use]
    pub fn kinds(&self) -> Vec<Kind> {
        self.0.tables.kinds()
    }

    /// How it answers requests.
    ///
    /// # Errors
    /// It does not.
    pub fn requests(&self) -> Result<&Requests, LoadError> {
        self.0
            .tables
            .requests
            .as_ref()
            .ok_or_else(|| self.objection(Problem::Kind(Kind::Request, self.kinds())))
    }

    /// How it speaks a protocol.
    ///
    /// # Errors
    /// It does not.
    pub fn connections(&self) -> Result<ConnectionTable, LoadError> {
        self.0.tables.connections.ok_or_else(|| self.objection(Problem::Kind(Kind::Connection, self.kinds())))
    }

    /// How it hooks into the stages of requests.
    ///
    /// # Errors
    /// It does not.
    pub(crate) fn stages(&self) -> Result<abi::StageHook, LoadError> {
        self.0.tables.stages.ok_or_else(|| self.objection(Problem::Kind(Kind::Stage, self.kinds())))
    }

    /// How it filters streams.
    ///
    /// # Errors
    /// It does not.
    pub(crate) fn filters(&self) -> Result<abi::StreamFilter, LoadError> {
        self.0.tables.filters.ok_or_else(|| self.objection(Problem::Kind(Kind::Filter, self.kinds())))
    }

    /// What is wrong with it, with its file.
    #[must_use]
    pub fn objection(&self, problem: Problem) -> LoadError {
        LoadError::new(self.path(), problem)
    }

    pub(crate) fn loaded(&self) -> &Loaded {
        &self.0
    }
}

impl fmt::Debug for Library {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Library")
            .field("path", &self.path())
            .field("number", &self.number())
            .field("name", &self.name())
            .field("version", &self.version())
            .finish()
    }
}

fn read(path: &Path) -> Result<Vec<u8>, Problem> {
    let file = File::open(path).map_err(Problem::Read)?;
    let metadata = file.metadata().map_err(Problem::Read)?;
    if metadata.is_file() && metadata.len() > LIBRARY_BYTES_MAX {
        return Err(Problem::Size(metadata.len()));
    }
    if !metadata.is_file() {
        return Err(Problem::Read(std::io::Error::other("it is no file")));
    }
    let mut bytes = Vec::new();
    // It may grow while it is read.
    file.take(LIBRARY_BYTES_MAX).read_to_end(&mut bytes).map_err(Problem::Read)?;
    Ok(bytes)
}
