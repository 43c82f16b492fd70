//! Settings of what WebDAV may change.

/// What is waited for before a change is answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// Nothing: the kernel writes when it likes. A machine that stops loses what was written last; whole files all the same.
    Fast,
    /// The content of files is on the disk before they have their name. Default.
    #[default]
    Content,
    /// That, and the directories that were changed.
    Full,
}

/// What WebDAV may do below a root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DavOptions {
    /// Whether who has not proved to be anybody may do more than GET. Default no: 403, whatever stages have let pass.
    pub is_anonymous: bool,
    /// How many bytes all files below the root may have together. Default no limit but the disk.
    pub quota_bytes: Option<u64>,
    /// Largest file that is taken, in bytes. Default 4 GiB.
    pub file_bytes_max: u64,
    /// Whether a PROPFIND may ask for everything below a collection at once. Default no: 403.
    pub is_deep: bool,
    /// What is waited for before a change is answered.
    pub durability: Durability,
    /// For how long a lock is given at most, in seconds; also where no wish was told. Default one hour.
    pub lock_s_max: u32,
    /// Most locks at a time. Default 4096.
    pub locks_max: usize,
    /// Bytes of the dead properties of one resource. Default 64 KiB.
    pub properties_bytes_max: usize,
    /// Most resources that one PROPFIND tells of; what is beyond is said to be missing (507). Default 10,000.
    pub entries_max: usize,
}

impl Default for DavOptions {
    fn default() -> Self {
        Self {
            is_anonymous: false,
            quota_bytes: None,
            file_bytes_max: 4 << 30,
            is_deep: false,
            durability: Durability::default(),
            lock_s_max: 3600,
            locks_max: 4096,
            properties_bytes_max: 64 * 1024,
            entries_max: 10_000,
        }
    }
}
