//! Zip archives of stored entries, as `torch.save` and Stable-Baselines3 write them.

use std::collections::BTreeMap;

use rawzip::{CompressionMethod, ZipArchive, ZipArchiveEntryWayfinder, ZipSliceArchive, crc32};

/// The largest file that is read, and the most that its tensors may come to: 1 GiB.
pub(super) const SIZE_LIMIT: u64 = 1 << 30;

/// An archive in memory, whose entries are read by name, each checked against its size and checksum.
pub(super) struct Archive<'a> {
    archive: ZipSliceArchive<&'a [u8]>,
    entries: BTreeMap<String, (ZipArchiveEntryWayfinder, CompressionMethod)>,
}

impl<'a> Archive<'a> {
    /// Reads the archive's list of entries.
    pub(super) fn open(bytes: &'a [u8]) -> Result<Self, String> {
        let damaged = |error: rawzip::Error| format!("is a damaged zip archive: {error}");
        let archive = ZipArchive::from_slice(bytes).map_err(damaged)?;
        let mut list = archive.entries();
        let mut entries = BTreeMap::new();
        while let Some(entry) = list.next_entry().map_err(damaged)? {
            let name = String::from_utf8_lossy(entry.file_path().as_bytes()).into_owned();
            entries.insert(name, (entry.wayfinder(), entry.compression_method()));
        }
        Ok(Self { archive, entries })
    }

    /// The entries' names.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }

    /// The content of an entry, if there is one of that name.
    pub(super) fn read(&self, name: &str) -> Result<Option<Vec<u8>>, String> {
        let Some((wayfinder, method)) = self.entries.get(name) else { return Ok(None) };
        if *method != CompressionMethod::STORE {
            let method = method.as_u16();
            return Err(format!(
                "an entry of the archive is packed (method {method}): save it again, unpacked"
            ));
        }
        let damaged = || "is a damaged zip archive: an entry's size or checksum is wrong".to_owned();
        let entry = self.archive.get_entry(*wayfinder).map_err(|_| damaged())?;
        let (content, claim) = (entry.data(), entry.claim_verifier());
        if content.len() as u64 != claim.uncompressed_size || crc32(content) != claim.crc {
            return Err(damaged());
        }
        Ok(Some(content.to_vec()))
    }
}
