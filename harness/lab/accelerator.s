# What the accelerator probe boots: a boot sector (512 bytes, loaded at 0x7c00 in real mode) that does what an operating
# system does and a broken accelerator cannot: 64-bit mode, paging, model-specific registers, a long loop at full speed,
# SSE, and a page fault that is handled. It then writes 0x2a to port 0xf4 (isa-debug-exit: QEMU ends with code 85), or hangs.
# accelerator.ts holds its bytes; a test assembles this file and compares:
#   as --64 -o probe.o accelerator.s && ld -Ttext 0x7c00 --oformat binary -o probe.bin probe.o
.intel_syntax noprefix
.code16
.globl _start
_start: cli
        xor ax, ax
        mov ds, ax
        mov es, ax
        mov ss, ax
        mov sp, 0x7c00
        cld
        mov di, 0x1000          # page tables at 0x1000 (PML4), 0x2000 (PDPT), 0x3000 (PD): clear 3 pages
        mov cx, 0x1800
        rep stosw
        mov word ptr [0x1000], 0x2003
        mov word ptr [0x2000], 0x3003
        mov word ptr [0x3000], 0x0083   # first 2 MiB, identity, writable, large page; the next 2 MiB stay unmapped
        mov di, 0x4000          # interrupt table at 0x4000: only vector 14 (page fault)
        mov cx, 0x80
        rep stosw
        mov word ptr [0x40e0], offset fault
        mov word ptr [0x40e2], 0x08
        mov word ptr [0x40e4], 0x8e00   # present interrupt gate
        mov eax, cr4
        or eax, 0x620           # PAE, OSFXSR, OSXMMEXCPT
        mov cr4, eax
        mov eax, 0x1000
        mov cr3, eax
        mov ecx, 0xc0000080     # EFER
        rdmsr
        or eax, 0x100           # LME
        wrmsr
        lgdt [gdtr]
        lidt [idtr]
        mov eax, cr0
        and eax, 0xfffffffb     # EM off
        or eax, 0x80000003      # PG, MP, PE
        mov cr0, eax
        .byte 0xea              # far jump into the 64-bit code segment
        .word long, 0x08
.code64
long:   mov eax, 0x10
        mov ds, eax
        mov es, eax
        mov ss, eax
        mov ecx, 0xc0000080     # EFER must say LMA now
        rdmsr
        test eax, 0x400
        jz dead
        xor eax, eax
        cpuid
        mov ecx, 0x1000000      # a loop that emulation instruction by instruction would not finish in time
1:      dec ecx
        jnz 1b
        pcmpeqd xmm0, xmm0      # all ones
        psrld xmm0, 31          # each lane 1
        movd eax, xmm0
        mov rbx, 0x200000       # unmapped: faults, the handler maps it, the store is done again
        mov [rbx], eax
        cmp dword ptr [rbx], 1
        jne dead
        mov al, 0x2a
        out 0xf4, al
dead:   hlt
        jmp dead
fault:  push rax
        mov rax, cr2
        cmp rax, 0x200000
        jne dead
        mov dword ptr [0x3008], 0x200083
        pop rax
        add rsp, 8              # error code
        iretq
        .align 8
gdt:    .quad 0
        .quad 0x00af9a000000ffff
        .quad 0x00cf92000000ffff
gdtr:   .word 23
        .long gdt
idtr:   .word 0xff
        .long 0x4000
        .org 510
        .word 0xaa55
