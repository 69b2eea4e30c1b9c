//! The database's way to the disk in memory: an SQLite VFS. What it answers to questions about the device is
//! what SQLite's own for unix answers, so that the database writes and syncs as it does in the field.
#![allow(unsafe_code, reason = "SQLite calls these functions and hands them pointers")]

use super::machine::{Handle, REGION, Region};
use super::{Inner, locate};
use rusqlite::ffi;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::ptr;
use std::sync::{Arc, Once};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

pub(super) const NAME: &str = "lotgate-fault";
const C_NAME: &CStr = c"lotgate-fault";
/// As SQLite's own for unix.
const SECTOR_SIZE: c_int = 4_096;
/// Days from noon of 24 November 4714 BC to 1970, in milliseconds.
const JULIAN_1970_MS: i64 = 210_866_760_000_000;

static REGISTERED: Once = Once::new();

/// Makes the way known to SQLite, once in the process.
pub(super) fn register() {
    REGISTERED.call_once(|| {
        let vfs = Box::leak(Box::new(ffi::sqlite3_vfs {
            iVersion: 2,
            szOsFile: c_int::try_from(size_of::<OpenFile>()).unwrap_or(c_int::MAX),
            mxPathname: 512,
            pNext: ptr::null_mut(),
            zName: C_NAME.as_ptr(),
            pAppData: ptr::null_mut(),
            xOpen: Some(open),
            xDelete: Some(delete),
            xAccess: Some(access),
            xFullPathname: Some(full_path),
            xDlOpen: None,
            xDlError: None,
            xDlSym: None,
            xDlClose: None,
            xRandomness: Some(randomness),
            xSleep: Some(sleep),
            xCurrentTime: None,
            xGetLastError: Some(last_error),
            xCurrentTimeInt64: Some(current_time),
            xSetSystemCall: None,
            xGetSystemCall: None,
            xNextSystemCall: None,
        }));
        // SAFETY: `vfs` is whole and lives as long as the process.
        unsafe { ffi::sqlite3_vfs_register(vfs, 0) };
    });
}

static METHODS: ffi::sqlite3_io_methods = ffi::sqlite3_io_methods {
    iVersion: 2,
    xClose: Some(close),
    xRead: Some(read),
    xWrite: Some(write),
    xTruncate: Some(truncate),
    xSync: Some(sync),
    xFileSize: Some(file_size),
    xLock: Some(lock),
    xUnlock: Some(unlock),
    xCheckReservedLock: Some(check_reserved),
    xFileControl: Some(file_control),
    xSectorSize: Some(sector_size),
    xDeviceCharacteristics: Some(characteristics),
    xShmMap: Some(shm_map),
    xShmLock: Some(shm_lock),
    xShmBarrier: Some(shm_barrier),
    xShmUnmap: Some(shm_unmap),
    xFetch: None,
    xUnfetch: None,
};

/// What SQLite allocates for an open file; `base` first, as it demands.
#[repr(C)]
struct OpenFile {
    base: ffi::sqlite3_file,
    state: *mut State,
}

struct State {
    disk: Arc<Inner>,
    handle: Handle,
    path: PathBuf,
    /// A new log or journal: its name is synced with its first content.
    new_name: bool,
    delete_on_close: bool,
    /// Keeps every region that SQLite has a pointer to.
    regions: Vec<Region>,
}

/// The state of an open file.
///
/// # Safety
/// `file` must have been opened by [`open`] with success and not be closed; SQLite promises that for every
/// method of a file, and that it calls none of them at the same time for one file.
unsafe fn state<'a>(file: *mut ffi::sqlite3_file) -> &'a mut State {
    // SAFETY: by the above the pointer is one of `OpenFile`, and `state` came from `Box::into_raw`.
    unsafe { &mut *(*file.cast::<OpenFile>()).state }
}

/// The path that SQLite hands over; `None` for the name of a temporary file.
///
/// # Safety
/// `name` must be null or end with a zero byte.
unsafe fn path_of<'a>(name: *const c_char) -> Option<&'a Path> {
    if name.is_null() {
        return None;
    }
    // SAFETY: by the above.
    unsafe { CStr::from_ptr(name) }.to_str().ok().map(Path::new)
}

fn code(done: io::Result<()>, otherwise: c_int) -> c_int {
    match done {
        Ok(()) => ffi::SQLITE_OK,
        Err(error) if error.kind() == ErrorKind::StorageFull => ffi::SQLITE_FULL,
        Err(_) => otherwise,
    }
}

unsafe extern "C" fn open(
    _: *mut ffi::sqlite3_vfs,
    name: *const c_char,
    file: *mut ffi::sqlite3_file,
    flags: c_int,
    out_flags: *mut c_int,
) -> c_int {
    // SAFETY: SQLite hands over `szOsFile` bytes for the file, a name that ends with a zero byte or is null,
    // and a place for the flags or null.
    unsafe {
        (*file).pMethods = ptr::null();
        let Some(located) = path_of(name).and_then(locate) else { return ffi::SQLITE_CANTOPEN };
        let (create, exclusive) =
            (flags & ffi::SQLITE_OPEN_CREATE != 0, flags & ffi::SQLITE_OPEN_EXCLUSIVE != 0);
        let (opened, read_only) = {
            let mut machine = located.disk.machine();
            let opened = machine.open(located.generation, &located.path, create, exclusive);
            (opened, machine.plan.read_only)
        };
        let Ok(handle) = opened else { return ffi::SQLITE_CANTOPEN };
        let new_kinds = ffi::SQLITE_OPEN_MAIN_JOURNAL | ffi::SQLITE_OPEN_SUPER_JOURNAL | ffi::SQLITE_OPEN_WAL;
        let state = State {
            disk: located.disk,
            handle,
            path: located.path,
            new_name: create && flags & new_kinds != 0,
            delete_on_close: flags & ffi::SQLITE_OPEN_DELETEONCLOSE != 0,
            regions: Vec::new(),
        };
        let open = file.cast::<OpenFile>();
        (*open).state = Box::into_raw(Box::new(state));
        (*open).base.pMethods = &raw const METHODS;
        if !out_flags.is_null() {
            let writable = ffi::SQLITE_OPEN_READWRITE | ffi::SQLITE_OPEN_CREATE;
            let turned = if read_only { flags & !writable | ffi::SQLITE_OPEN_READONLY } else { flags };
            *out_flags = turned;
        }
    }
    ffi::SQLITE_OK
}

unsafe extern "C" fn delete(_: *mut ffi::sqlite3_vfs, name: *const c_char, sync_dir: c_int) -> c_int {
    // SAFETY: the name ends with a zero byte.
    let Some(located) = (unsafe { path_of(name) }).and_then(locate) else { return ffi::SQLITE_IOERR_DELETE };
    let mut machine = located.disk.machine();
    match machine.remove(located.generation, &located.path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return ffi::SQLITE_IOERR_DELETE_NOENT,
        Err(_) => return ffi::SQLITE_IOERR_DELETE,
        Ok(()) => {}
    }
    match located.path.parent().filter(|_| sync_dir != 0) {
        Some(dir) => code(machine.sync_dir(located.generation, dir), ffi::SQLITE_IOERR_DIR_FSYNC),
        None => ffi::SQLITE_OK,
    }
}

unsafe extern "C" fn access(
    _: *mut ffi::sqlite3_vfs,
    name: *const c_char,
    flags: c_int,
    out: *mut c_int,
) -> c_int {
    // SAFETY: the name ends with a zero byte.
    let Some(located) = (unsafe { path_of(name) }).and_then(locate) else { return ffi::SQLITE_IOERR_ACCESS };
    let machine = located.disk.machine();
    if machine.alive(located.generation).is_err() {
        return ffi::SQLITE_IOERR_ACCESS;
    }
    let file = machine.names.get(&located.path).and_then(|ino| machine.files.get(&ino));
    let there = file.is_some_and(|file| match flags {
        ffi::SQLITE_ACCESS_READWRITE => !machine.plan.read_only,
        _ => !file.content.bytes().is_empty(),
    });
    // SAFETY: SQLite gives a place for the answer.
    unsafe { *out = c_int::from(there) };
    ffi::SQLITE_OK
}

unsafe extern "C" fn full_path(
    _: *mut ffi::sqlite3_vfs,
    name: *const c_char,
    size: c_int,
    out: *mut c_char,
) -> c_int {
    // SAFETY: the name ends with a zero byte, and `out` has room for `size` bytes.
    unsafe {
        let bytes = CStr::from_ptr(name).to_bytes_with_nul();
        if usize::try_from(size).is_ok_and(|size| bytes.len() <= size) {
            ptr::copy_nonoverlapping(bytes.as_ptr().cast(), out, bytes.len());
            ffi::SQLITE_OK
        } else {
            ffi::SQLITE_CANTOPEN
        }
    }
}

unsafe extern "C" fn randomness(_: *mut ffi::sqlite3_vfs, size: c_int, out: *mut c_char) -> c_int {
    let len = usize::try_from(size).unwrap_or(0);
    // SAFETY: `out` has room for `size` bytes, which are written before they are seen as a slice.
    let bytes = unsafe {
        ptr::write_bytes(out, 0, len);
        std::slice::from_raw_parts_mut(out.cast::<u8>(), len)
    };
    if getrandom::fill(bytes).is_ok() { size } else { 0 }
}

unsafe extern "C" fn sleep(_: *mut ffi::sqlite3_vfs, micros: c_int) -> c_int {
    std::thread::sleep(Duration::from_micros(u64::try_from(micros).unwrap_or(0)));
    micros
}

unsafe extern "C" fn last_error(_: *mut ffi::sqlite3_vfs, _: c_int, _: *mut c_char) -> c_int {
    0
}

unsafe extern "C" fn current_time(_: *mut ffi::sqlite3_vfs, out: *mut ffi::sqlite3_int64) -> c_int {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let ms = i64::try_from(since.as_millis()).unwrap_or(0);
    // SAFETY: SQLite gives a place for the answer.
    unsafe { *out = JULIAN_1970_MS.saturating_add(ms) };
    ffi::SQLITE_OK
}

unsafe extern "C" fn close(file: *mut ffi::sqlite3_file) -> c_int {
    // SAFETY: an open file, whose state is taken back and never used again.
    let state = unsafe {
        (*file).pMethods = ptr::null();
        Box::from_raw((*file.cast::<OpenFile>()).state)
    };
    let mut machine = state.disk.machine();
    if state.delete_on_close {
        let _ = machine.remove(state.handle.generation, &state.path);
    }
    machine.close(state.handle);
    ffi::SQLITE_OK
}

unsafe extern "C" fn read(
    file: *mut ffi::sqlite3_file,
    out: *mut c_void,
    amount: c_int,
    offset: ffi::sqlite3_int64,
) -> c_int {
    // SAFETY: an open file, and room for `amount` bytes, which are written before they are seen as a slice.
    let (state, out) = unsafe {
        let len = usize::try_from(amount).unwrap_or(0);
        ptr::write_bytes(out.cast::<u8>(), 0, len);
        (state(file), std::slice::from_raw_parts_mut(out.cast::<u8>(), len))
    };
    let mut machine = state.disk.machine();
    machine.calls.reads = machine.calls.reads.saturating_add(1);
    let Ok(file) = machine.file(state.handle) else { return ffi::SQLITE_IOERR_READ };
    let start = usize::try_from(offset).unwrap_or(usize::MAX);
    let there = file.content.bytes().get(start..).unwrap_or_default();
    let there = there.get(..out.len()).unwrap_or(there);
    if let Some(place) = out.get_mut(..there.len()) {
        place.copy_from_slice(there);
    }
    if there.len() == out.len() { ffi::SQLITE_OK } else { ffi::SQLITE_IOERR_SHORT_READ }
}

unsafe extern "C" fn write(
    file: *mut ffi::sqlite3_file,
    bytes: *const c_void,
    amount: c_int,
    offset: ffi::sqlite3_int64,
) -> c_int {
    // SAFETY: an open file, and `amount` bytes to be written.
    let (state, bytes) = unsafe {
        let len = usize::try_from(amount).unwrap_or(0);
        (state(file), std::slice::from_raw_parts(bytes.cast::<u8>(), len))
    };
    let Ok(offset) = usize::try_from(offset) else { return ffi::SQLITE_IOERR_WRITE };
    code(state.disk.machine().write(state.handle, offset, bytes), ffi::SQLITE_IOERR_WRITE)
}

unsafe extern "C" fn truncate(file: *mut ffi::sqlite3_file, size: ffi::sqlite3_int64) -> c_int {
    // SAFETY: an open file.
    let state = unsafe { state(file) };
    let Ok(size) = usize::try_from(size) else { return ffi::SQLITE_IOERR_TRUNCATE };
    code(state.disk.machine().truncate(state.handle, size), ffi::SQLITE_IOERR_TRUNCATE)
}

unsafe extern "C" fn sync(file: *mut ffi::sqlite3_file, _: c_int) -> c_int {
    // SAFETY: an open file.
    let state = unsafe { state(file) };
    let mut machine = state.disk.machine();
    let done = machine.sync(state.handle);
    if done.is_ok() && state.new_name {
        state.new_name = false;
        if let Some(dir) = state.path.parent() {
            // As SQLite's own for unix: whether the name was synced is not looked at.
            let _ = machine.sync_dir(state.handle.generation, dir);
        }
    }
    code(done, ffi::SQLITE_IOERR_FSYNC)
}

unsafe extern "C" fn file_size(file: *mut ffi::sqlite3_file, out: *mut ffi::sqlite3_int64) -> c_int {
    // SAFETY: an open file.
    let state = unsafe { state(file) };
    let mut machine = state.disk.machine();
    let Ok(file) = machine.file(state.handle) else { return ffi::SQLITE_IOERR_FSTAT };
    let len = i64::try_from(file.content.bytes().len()).unwrap_or(i64::MAX);
    // SAFETY: SQLite gives a place for the answer.
    unsafe { *out = len };
    ffi::SQLITE_OK
}

unsafe extern "C" fn lock(file: *mut ffi::sqlite3_file, level: c_int) -> c_int {
    // SAFETY: an open file.
    let state = unsafe { state(file) };
    let mut machine = state.disk.machine();
    match machine.file(state.handle).map(|file| file.locks.lock(state.handle.id, level)) {
        Ok(true) => ffi::SQLITE_OK,
        Ok(false) => ffi::SQLITE_BUSY,
        Err(_) => ffi::SQLITE_IOERR_LOCK,
    }
}

unsafe extern "C" fn unlock(file: *mut ffi::sqlite3_file, level: c_int) -> c_int {
    // SAFETY: an open file.
    let state = unsafe { state(file) };
    let mut machine = state.disk.machine();
    let done = machine.file(state.handle).map(|file| file.locks.unlock(state.handle.id, level));
    code(done, ffi::SQLITE_IOERR_UNLOCK)
}

unsafe extern "C" fn check_reserved(file: *mut ffi::sqlite3_file, out: *mut c_int) -> c_int {
    // SAFETY: an open file.
    let state = unsafe { state(file) };
    let mut machine = state.disk.machine();
    let Ok(file) = machine.file(state.handle) else { return ffi::SQLITE_IOERR_CHECKRESERVEDLOCK };
    let reserved = c_int::from(file.locks.reserved());
    // SAFETY: SQLite gives a place for the answer.
    unsafe { *out = reserved };
    ffi::SQLITE_OK
}

unsafe extern "C" fn file_control(_: *mut ffi::sqlite3_file, _: c_int, _: *mut c_void) -> c_int {
    ffi::SQLITE_NOTFOUND
}

unsafe extern "C" fn sector_size(_: *mut ffi::sqlite3_file) -> c_int {
    SECTOR_SIZE
}

unsafe extern "C" fn characteristics(_: *mut ffi::sqlite3_file) -> c_int {
    ffi::SQLITE_IOCAP_POWERSAFE_OVERWRITE
}

unsafe extern "C" fn shm_map(
    file: *mut ffi::sqlite3_file,
    index: c_int,
    size: c_int,
    extend: c_int,
    out: *mut *mut c_void,
) -> c_int {
    // SAFETY: an open file, and a place for the answer.
    let state = unsafe {
        *out = ptr::null_mut();
        state(file)
    };
    let index = usize::try_from(index).unwrap_or(usize::MAX);
    if usize::try_from(size) != Ok(REGION) {
        return ffi::SQLITE_IOERR_SHMMAP;
    }
    let mapped = state.disk.machine().map(state.handle, index, extend != 0);
    match mapped {
        Ok(None) => ffi::SQLITE_OK,
        Ok(Some(region)) => {
            // SAFETY: the region lives until it is unmapped or the file is closed, since `regions` keeps it;
            // its parts are atomic, so it may be written through the pointer by several connections.
            unsafe { *out = region.as_ptr().cast_mut().cast() };
            state.regions.push(region);
            ffi::SQLITE_OK
        }
        Err(error) if error.kind() == ErrorKind::StorageFull => ffi::SQLITE_IOERR_SHMSIZE,
        Err(error) if error.kind() == ErrorKind::ReadOnlyFilesystem => ffi::SQLITE_CANTOPEN,
        Err(_) => ffi::SQLITE_IOERR_SHMMAP,
    }
}

unsafe extern "C" fn shm_lock(
    file: *mut ffi::sqlite3_file,
    first: c_int,
    count: c_int,
    flags: c_int,
) -> c_int {
    // SAFETY: an open file.
    let state = unsafe { state(file) };
    let mut machine = state.disk.machine();
    match machine.memory_locks(state.handle).map(|locks| locks.change(state.handle.id, first, count, flags)) {
        Ok(true) => ffi::SQLITE_OK,
        Ok(false) => ffi::SQLITE_BUSY,
        Err(_) => ffi::SQLITE_IOERR_SHMLOCK,
    }
}

unsafe extern "C" fn shm_barrier(_: *mut ffi::sqlite3_file) {
    std::sync::atomic::fence(std::sync::atomic::Ordering::SeqCst);
}

unsafe extern "C" fn shm_unmap(file: *mut ffi::sqlite3_file, _: c_int) -> c_int {
    // SAFETY: an open file; SQLite uses none of its regions from here on.
    let state = unsafe { state(file) };
    state.disk.machine().unmap(state.handle);
    state.regions.clear();
    ffi::SQLITE_OK
}
