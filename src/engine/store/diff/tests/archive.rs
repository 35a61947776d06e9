//! Archives made byte by byte, so that they can be wrong in every way.

use std::io::Write as _;

/// A header's fields and the contents after it.
#[derive(Clone, Debug)]
pub struct Item {
    pub flag: u8,
    pub name: Vec<u8>,
    pub link: Vec<u8>,
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub mtime: u64,
    pub size: Option<u64>,
    pub device: (u32, u32),
    pub data: Vec<u8>,
    pub pax: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Item {
    pub fn new(flag: u8, name: impl AsRef<[u8]>) -> Self {
        Self {
            flag,
            name: name.as_ref().to_vec(),
            link: Vec::new(),
            mode: if flag == b'5' { 0o755 } else { 0o644 },
            uid: 0,
            gid: 0,
            mtime: 1_000_000_000,
            size: None,
            device: (0, 0),
            data: Vec::new(),
            pax: Vec::new(),
        }
    }

    pub fn file(name: impl AsRef<[u8]>, data: impl AsRef<[u8]>) -> Self {
        Self { data: data.as_ref().to_vec(), ..Self::new(b'0', name) }
    }

    pub fn dir(name: impl AsRef<[u8]>) -> Self {
        Self::new(b'5', name)
    }

    pub fn symlink(name: impl AsRef<[u8]>, target: impl AsRef<[u8]>) -> Self {
        Self { link: target.as_ref().to_vec(), ..Self::new(b'2', name) }
    }

    pub fn hard_link(name: impl AsRef<[u8]>, target: impl AsRef<[u8]>) -> Self {
        Self { link: target.as_ref().to_vec(), ..Self::new(b'1', name) }
    }

    pub fn device(name: impl AsRef<[u8]>, major: u32, minor: u32) -> Self {
        Self { device: (major, minor), ..Self::new(b'3', name) }
    }

    pub fn mode(mut self, mode: u32) -> Self {
        self.mode = mode;
        self
    }

    pub fn owner(mut self, uid: u32, gid: u32) -> Self {
        (self.uid, self.gid) = (uid, gid);
        self
    }

    pub fn mtime(mut self, mtime: u64) -> Self {
        self.mtime = mtime;
        self
    }

    pub fn pax(mut self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Self {
        self.pax.push((key.as_ref().to_vec(), value.as_ref().to_vec()));
        self
    }

    pub fn xattr(self, key: &str, value: impl AsRef<[u8]>) -> Self {
        self.pax(format!("SCHILY.xattr.{key}"), value)
    }

    /// Header blocks, contents and padding.
    pub fn bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        if !self.pax.is_empty() {
            let records: Vec<u8> = self.pax.iter().flat_map(|(k, v)| record(k, v)).collect();
            out.extend(Item { data: records, ..Item::new(b'x', "PaxHeaders/x") }.bytes());
        }
        for (flag, text) in [(b'K', &self.link), (b'L', &self.name)] {
            let own = [b'K', b'L', b'x', b'g'].contains(&self.flag);
            if text.len() > 100 && !own {
                let data = [text, &b"\0"[..]].concat();
                out.extend(Item { data, ..Item::new(flag, "././@LongLink") }.bytes());
            }
        }
        out.extend(self.header());
        out.extend(&self.data);
        pad(&mut out);
        out
    }

    pub fn header(&self) -> [u8; 512] {
        let mut block = [0; 512];
        let mut put = |at: usize, text: &[u8], max: usize| {
            let n = text.len().min(max);
            block[at..at + n].copy_from_slice(&text[..n]);
        };
        put(0, &self.name, 100);
        put(100, format!("{:07o}", self.mode).as_bytes(), 8);
        for (at, id) in [(108, self.uid), (116, self.gid)] {
            let octal = format!("{id:07o}");
            if octal.len() > 7 {
                put(at, &[&[0x80, 0, 0, 0], &id.to_be_bytes()[..]].concat(), 8);
            } else {
                put(at, octal.as_bytes(), 8);
            }
        }
        put(124, format!("{:011o}", self.size.unwrap_or(self.data.len() as u64)).as_bytes(), 12);
        put(136, format!("{:011o}", self.mtime).as_bytes(), 12);
        put(156, &[self.flag], 1);
        put(157, &self.link, 100);
        put(257, b"ustar  \0", 8);
        put(329, format!("{:07o}", self.device.0).as_bytes(), 8);
        put(337, format!("{:07o}", self.device.1).as_bytes(), 8);
        seal(&mut block);
        block
    }
}

/// Writes the checksum.
pub fn seal(block: &mut [u8; 512]) {
    block[148..156].fill(b' ');
    let sum: u32 = block.iter().map(|&b| u32::from(b)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}

pub fn pad(out: &mut Vec<u8>) {
    out.resize(out.len().next_multiple_of(512), 0);
}

pub fn record(key: &[u8], value: &[u8]) -> Vec<u8> {
    let base = key.len() + value.len() + 3;
    let mut length = base + 1;
    while base + length.to_string().len() != length {
        length += 1;
    }
    [format!("{length} ").as_bytes(), key, b"=", value, b"\n"].concat()
}

/// Items and the two blocks of zeros.
pub fn tar(items: &[Item]) -> Vec<u8> {
    let mut out: Vec<u8> = items.iter().flat_map(Item::bytes).collect();
    out.extend([0; 1024]);
    out
}

pub fn gzip(data: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}
