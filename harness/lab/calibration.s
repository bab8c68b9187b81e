# What the calibration boots: a boot sector that does, a given number of rounds, what a booting guest makes a hypervisor
# do, in 64-bit mode. One round: 512 page faults, each handled by mapping its page; fresh code of 512 blocks, run 24 times; 20,000
# loads and stores all over a mebibyte; 30,000 steps of integer work with an unpredictable branch to a subroutine. It
# then writes 0x2a to port 0xf4 (isa-debug-exit: QEMU ends with code 85), or hangs. The number of rounds is the 32-bit word at
# offset 506, which calibration-payload.ts sets: zero rounds give what QEMU itself costs.
# calibration-payload.ts holds its bytes; a test assembles this file and compares:
#   as --64 -o c.o calibration.s && ld -Ttext 0x7c00 --oformat binary -o c.bin c.o
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
        mov di, 0x1000          # tables: 0x1000 PML4, 0x2000 PDPT, 0x3000 PD, 0x4000 interrupts, 0x5000 PT; clear all five pages
        mov cx, 0x2800
        rep stosw
        mov word ptr [0x1000], 0x2003
        mov word ptr [0x2000], 0x3003
        mov word ptr [0x3000], 0x0083   # first 2 MiB: identity, one large page
        mov word ptr [0x3008], 0x5003   # the next 2 MiB: small pages, mapped when they are touched
        mov word ptr [0x40e0], offset fault
        mov word ptr [0x40e2], 0x08
        mov word ptr [0x40e4], 0x8e00   # vector 14, interrupt gate
        mov eax, cr4
        or al, 0x20             # PAE
        mov cr4, eax
        mov eax, 0x1000
        mov cr3, eax
        mov ecx, 0xc0000080     # EFER: LME
        rdmsr
        or eax, 0x100
        wrmsr
        lgdt [gdtr]
        lidt [idtr]
        mov eax, cr0
        or eax, 0x80000001      # PG, PE
        mov cr0, eax
        .byte 0xea
        .word long, 0x08
.code64
long:   mov eax, 0x10
        mov ds, eax
        mov es, eax
        mov ss, eax
        mov esp, 0x9000         # not in the page of this code: emulation pays for every write to a page that holds code
        mov r15d, [rounds]
round:  dec r15d
        js done
        mov edi, 0x5000         # unmap all small pages
        xor eax, eax
        mov ecx, 512
        rep stosq
        mov rax, cr3
        mov cr3, rax
        mov edi, 0x200000       # touch each
        mov ecx, 512
1:      mov [rdi], ecx
        add edi, 0x1000
        dec ecx
        jnz 1b
        mov edi, 0x200000       # blocks of `add rax, imm32; jmp next`, and a ret behind them
        movabs rax, 0x00eb000000010548
        mov ecx, 512
        rep stosq
        mov byte ptr [rdi], 0xc3
        mov ebp, 24
2:      mov ebx, 0x200000
        call rbx
        dec ebp
        jnz 2b
        mov ecx, 20000          # all over the second mebibyte
3:      imul eax, eax, 1664525
        add eax, 1013904223
        mov ebx, eax
        shr ebx, 12
        add [rbx + 0x2ffff0], eax
        dec ecx
        jnz 3b
        or eax, 1               # xorshift32
        mov ecx, 30000
4:      mov edx, eax
        shl edx, 13
        xor eax, edx
        mov edx, eax
        shr edx, 17
        xor eax, edx
        mov edx, eax
        shl edx, 5
        xor eax, edx
        test al, 1
        jz 5f
        call sub
5:      dec ecx
        jnz 4b
        jmp round
sub:    add rsi, rax
        ret
done:   mov al, 0x2a
        out 0xf4, al
dead:   hlt
        jmp dead
fault:  push rax
        push rbx
        mov rax, cr2
        and eax, 0xfffff000
        mov ebx, eax
        shr ebx, 12
        and ebx, 511
        or eax, 3
        mov [rbx * 8 + 0x5000], rax
        pop rbx
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
        .org 506
rounds: .long 0
        .org 510
        .word 0xaa55
