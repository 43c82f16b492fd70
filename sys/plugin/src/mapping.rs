//! A library as the loader has it, and whether it is gone when it is closed.

use crate::abi;
use crate::census;
use crate::error::Problem;
use crate::image::Image;
use ringway_lock::{Mutex, MutexGuard};
use std::ffi::{CStr, CString, c_int, c_void};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr::NonNull;
use std::sync::PoisonError;

/// Libraries that could not be unmapped when nobody used them any more; with so many no further ones are loaded.
pub const LINGERING_MAX: usize = 64;

/// One at a time loads, or unloads and looks: the next library may be put where the last one was.
static LOADER: Mutex<()> = Mutex::new(());

fn loader() -> MutexGuard<'static, ()> {
    LOADER.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A library that is loaded, until it is dropped.
#[derive(Debug)]
pub(crate) struct Mapping {
    handle: NonNull<c_void>,
    pub(crate) entry: abi::Entry,
    /// Where its code is.
    place: usize,
    number: u64,
    image: Option<Image>,
}

// SAFETY: the loader's functions take a handle on any thread (I1); code is called as I3 and I5 say.
unsafe impl Send for Mapping {}
// SAFETY: as above; nothing changes while it is shared (I3).
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Loads a copy of `bytes`. `path` is for messages.
    pub(crate) fn new(path: &Path, bytes: &[u8], number: u64) -> Result<Self, Problem> {
        let (handle, image) = match Image::in_memory(bytes, &image_name(path, number)) {
            Ok(image) => match open(&image, path) {
                // A machine that does not map memory files as code.
                Err(reason) if reason.contains("failed to map") => in_file(bytes, path)?,
                opened => (opened.map_err(Problem::Loader)?, image),
            },
            Err(_no_memory_files) => in_file(bytes, path)?,
        };
        let entry = symbol(handle);
        let mapping = entry.map(|(entry, place)| Self { handle, entry, place, number, image: Some(image) });
        if mapping.is_none() {
            close(handle);
        }
        mapping.ok_or(Problem::NoSymbol(abi::ENTRY))
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        let lingers = {
            let _nobody_else_loads = loader();
            close(self.handle);
            is_mapped(self.place)
        };
        if lingers && let Some(image) = self.image.take() {
            // Its name is still taken: another library must not get it.
            census::keep(image);
        }
        census::closed(self.number, lingers);
    }
}

fn in_file(bytes: &[u8], path: &Path) -> Result<(NonNull<c_void>, Image), Problem> {
    let image = Image::in_file(bytes).map_err(Problem::Copy)?;
    let opened = open(&image, path);
    image.loaded();
    Ok((opened.map_err(Problem::Loader)?, image))
}

/// What a list of mapped files shows of it.
fn image_name(path: &Path, number: u64) -> CString {
    let stem = path.file_stem().unwrap_or_default().as_bytes();
    let kept: Vec<u8> = stem.iter().copied().filter(|byte| byte.is_ascii_graphic()).take(64).collect();
    let name = [b"ringway-", &kept[..], b"-", number.to_string().as_bytes()].concat();
    CString::new(name).unwrap_or_default()
}

/// Has the loader load it, with all it needs, its symbols for itself; the loader's reason if it does not.
fn open(image: &Image, path: &Path) -> Result<NonNull<c_void>, String> {
    let file = CString::new(image.path.as_os_str().as_bytes()).unwrap_or_default();
    let _nobody_else_unloads = loader();
    // SAFETY: a text that ends; what the library does when it is loaded is its author's matter, as all it does (I1, I2).
    let handle = unsafe { libc::dlopen(file.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL) };
    NonNull::new(handle).ok_or_else(|| {
        let reason = loader_error();
        reason.replace(&*image.path.to_string_lossy(), &path.to_string_lossy())
    })
}

fn symbol(handle: NonNull<c_void>) -> Option<(abi::Entry, usize)> {
    let name = CString::new(abi::ENTRY).unwrap_or_default();
    // SAFETY: a handle of an open library and a text that ends (I1, I3).
    let found = NonNull::new(unsafe { libc::dlsym(handle.as_ptr(), name.as_ptr()) })?;
    // SAFETY: a symbol of that name is that function, as the header says (I2).
    let entry = unsafe { std::mem::transmute::<*mut c_void, abi::Entry>(found.as_ptr()) };
    Some((entry, found.as_ptr().addr()))
}

fn close(handle: NonNull<c_void>) {
    // SAFETY: an open library that nobody uses any more: whoever does holds what this is the end of (I1, I3).
    let _code = unsafe { libc::dlclose(handle.as_ptr()) };
}

fn loader_error() -> String {
    // SAFETY: it gives null or a text that is valid until this thread's next call of the loader (I1).
    let error = unsafe { libc::dlerror() };
    if error.is_null() {
        return "the loader gives no reason".to_owned();
    }
    // SAFETY: as above; it is copied before the next call (I1).
    unsafe { CStr::from_ptr(error) }.to_string_lossy().into_owned()
}

/// Whether a library's code is at that place.
fn is_mapped(place: usize) -> bool {
    unsafe extern "C" fn look(info: *mut libc::dl_phdr_info, _size: usize, data: *mut c_void) -> c_int {
        // SAFETY: the loader's own struct, for this call (I1).
        let info = unsafe { &*info };
        // SAFETY: what `is_mapped` gave, for this call (I1).
        let place = unsafe { *data.cast::<usize>() };
        let headers = if info.dlpi_phdr.is_null() {
            &[]
        } else {
            // SAFETY: the loader's own table, for this call (I1).
            unsafe { std::slice::from_raw_parts(info.dlpi_phdr, info.dlpi_phnum.into()) }
        };
        let is_there = headers.iter().filter(|header| header.p_type == libc::PT_LOAD).any(|header| {
            let start = to_usize(info.dlpi_addr).wrapping_add(to_usize(header.p_vaddr));
            place.wrapping_sub(start) < to_usize(header.p_memsz)
        });
        is_there.into()
    }
    let mut place = place;
    // SAFETY: the function keeps nothing, and what it is given is valid for the call (I1).
    unsafe { libc::dl_iterate_phdr(Some(look), (&raw mut place).cast()) != 0 }
}

fn to_usize(value: u64) -> usize {
    usize::try_from(value).unwrap_or(usize::MAX)
}
