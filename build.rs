//! Writes the program of the built-in image `coracle/hello`, a static ELF file of under two kilobytes, to
//! `$OUT_DIR/hello`.
//!
//! The program prints `src/engine/image/hello.txt`. It is put together here from machine code instead of being
//! compiled, so that its bytes, and with them the image's digest, are the same on every machine whatever its C
//! compiler is, and so that a cross build needs no second toolchain. On an architecture without code below the file
//! is empty and the engine says that it has no hello program.
#![allow(clippy::print_stdout, reason = "this is how a build script talks to cargo")]

use std::error::Error;
use std::path::{Path, PathBuf};

const TEXT: &str = "src/engine/image/hello.txt";

/// Where the kernel maps the file, headers and all.
const BASE: u64 = 0x40_0000;
const ELF_HEADER: usize = 64;
const PROGRAM_HEADER: usize = 56;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed={TEXT}");
    let text = std::fs::read(TEXT)?;
    let length = u16::try_from(text.len())?;
    let program = match std::env::var("CARGO_CFG_TARGET_ARCH")?.as_str() {
        "x86_64" => elf(62, &x86_64(length), &text),
        "aarch64" => elf(183, &aarch64(length), &text),
        _ => Vec::new(),
    };
    let out = PathBuf::from(std::env::var_os("OUT_DIR").ok_or("OUT_DIR is not set")?);
    std::fs::write(out.join("hello"), program)?;
    link_unwinder(&out)
}

/// Has the unwinder, which only backtraces need, linked into the program instead of loaded at every start: besides the
/// work for the loader, libgcc_s.so asks the processor a dozen times what it can, each of which takes microseconds in a
/// virtual machine. The standard library names libgcc_s; a linker script of that name, found first, leads to the archive.
fn link_unwinder(out: &Path) -> Result<(), Box<dyn Error>> {
    if std::env::var("CARGO_CFG_TARGET_ENV")? == "gnu" {
        std::fs::write(out.join("libgcc_s.so"), "INPUT(-lgcc_eh)\n")?;
        println!("cargo:rustc-link-search=native={}", out.display());
    }
    Ok(())
}

/// Writes the text that follows the code to stdout, in as many calls as it takes, and exits with 0, or with 1 when
/// stdout takes no more.
fn x86_64(length: u16) -> Vec<u8> {
    let [low, high] = length.to_le_bytes();
    [
        &[0x48, 0x8d, 0x35, 0x24, 0, 0, 0][..], //       lea rsi, [rip + text]
        &[0xba, low, high, 0, 0],               //       mov edx, length
        &[0xbf, 1, 0, 0, 0], // next: mov edi, 1          (stdout, and the exit code on failure)
        &[0x89, 0xf8],       //       mov eax, edi        (write is 1)
        &[0x0f, 0x05],       //       syscall
        &[0x48, 0x85, 0xc0], //       test rax, rax
        &[0x7e, 0x0a],       //       jle done
        &[0x48, 0x01, 0xc6], //       add rsi, rax
        &[0x48, 0x29, 0xc2], //       sub rdx, rax
        &[0x75, 0xea],       //       jnz next
        &[0x31, 0xff],       //       xor edi, edi
        &[0xb8, 60, 0, 0, 0], // done: mov eax, 60         (exit)
        &[0x0f, 0x05],       //       syscall
    ]
    .concat()
}

/// The same for 64-bit Arm.
fn aarch64(length: u16) -> Vec<u8> {
    [
        0x1000_01e1_u32,                      //       adr x1, text
        0xd280_0002 | u32::from(length) << 5, //       mov x2, length
        0xd280_0020,                          // next: mov x0, 1
        0xd280_0808,                          //       mov x8, 64          (write)
        0xd400_0001,                          //       svc 0
        0xf100_001f,                          //       cmp x0, 0
        0x5400_00cd,                          //       b.le fail
        0x8b00_0021,                          //       add x1, x1, x0
        0xeb00_0042,                          //       subs x2, x2, x0
        0x54ff_ff21,                          //       b.ne next
        0xd280_0000,                          //       mov x0, 0
        0x1400_0002,                          //       b done
        0xd280_0020,                          // fail: mov x0, 1
        0xd280_0ba8,                          // done: mov x8, 93          (exit)
        0xd400_0001,                          //       svc 0
    ]
    .iter()
    .flat_map(|instruction| instruction.to_le_bytes())
    .collect()
}

/// An executable of one read-only segment: header, code, text. Layout as in elf(5).
fn elf(machine: u16, code: &[u8], text: &[u8]) -> Vec<u8> {
    let headers = ELF_HEADER + 2 * PROGRAM_HEADER;
    let size = (headers + code.len() + text.len()) as u64;
    let mut file = Vec::new();
    file.extend(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0"); // 64 bit, little endian, System V
    file.extend(2_u16.to_le_bytes()); // e_type: EXEC
    file.extend(machine.to_le_bytes());
    file.extend(1_u32.to_le_bytes());
    file.extend((BASE + headers as u64).to_le_bytes()); // e_entry
    file.extend((ELF_HEADER as u64).to_le_bytes()); // e_phoff
    file.extend(0_u64.to_le_bytes()); // no sections
    file.extend(0_u32.to_le_bytes());
    for field in [ELF_HEADER as u16, PROGRAM_HEADER as u16, 2, 64, 0, 0] {
        file.extend(field.to_le_bytes());
    }
    segment(&mut file, 1, 5, [0, BASE, BASE, size, size, 0x1_0000]); // LOAD, readable and executable
    segment(&mut file, 0x6474_e551, 6, [0, 0, 0, 0, 0, 16]); // GNU_STACK: not executable
    file.extend(code);
    file.extend(text);
    file
}

/// One program header: offset, virtual and physical address, size in the file and in memory, alignment.
fn segment(file: &mut Vec<u8>, kind: u32, flags: u32, fields: [u64; 6]) {
    file.extend(kind.to_le_bytes());
    file.extend(flags.to_le_bytes());
    for field in fields {
        file.extend(field.to_le_bytes());
    }
}
