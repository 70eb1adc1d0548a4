//! Tiny ROMs in x86 real mode: enough to try an accelerator and to test machines without any kernel.
//!
//! ```text
//! 0x0000  the program            0xfff0  the reset vector: a near jump to 0x0000 (Intel SDM vol. 3, 10.1.4)
//! ```

const SIZE: usize = 0x1_0000;
const RESET_VECTOR: usize = 0xfff0;

/// The I/O port of QEMU's `isa-debug-exit` device that [`exit`] writes to.
pub const EXIT_PORT: u8 = 0xf4;

/// Ends QEMU through `isa-debug-exit` at once: QEMU's exit status is `value * 2 + 1`.
pub fn exit(value: u8) -> Vec<u8> {
    rom(&[0xb0, value, 0xe6, EXIT_PORT, 0xf4, 0xeb, 0xfd]) // mov al, value; out PORT, al; hlt; jmp to the hlt
}

/// Writes a text to the first serial port, then halts for ever.
pub fn say(text: &str) -> Vec<u8> {
    let mut program = vec![
        0xba, 0xf8, 0x03, // 00 mov dx, 0x3f8
        0xbe, 0x12, 0x00, // 03 mov si, 18
        0x2e, 0xac, // 06 cs lodsb
        0x84, 0xc0, // 08 test al, al
        0x74, 0x03, // 10 jz 15
        0xee, // 12 out dx, al
        0xeb, 0xf7, // 13 jmp 6
        0xf4, // 15 hlt
        0xeb, 0xfd, // 16 jmp 15
    ];
    program.extend(text.as_bytes());
    program.push(0);
    rom(&program)
}

fn rom(program: &[u8]) -> Vec<u8> {
    let mut rom = vec![0xf4; SIZE];
    rom[..program.len()].copy_from_slice(program);
    rom[RESET_VECTOR..RESET_VECTOR + 3].copy_from_slice(&[0xe9, 0x0d, 0x00]); // jmp 0x10000, which is 0x0000
    rom
}
