;; Start-up, interrupt vectors and the copy routines that must stay in bank 0.
;; Everything here is linked first, so that it lies below 0x4000 and stays
;; mapped while another ROM bank is switched in.
	.module crt0
	.globl	_main

	.area	_HEADER (ABS)
	.org	0x00
	ret
	.org	0x40
	jp	vblank
	.org	0x48
	reti
	.org	0x50
	reti
	.org	0x58
	reti
	.org	0x60
	reti
	.org	0x100
	nop
	jp	start

	.org	0x150
start:
	di
	ld	sp,#0xE000
	xor	a
	ldh	(0x26),a		; sound off
	ldh	(0x0F),a
	ldh	(0xFF),a
	;; SDCC's own start-up does not zero data: clear C000..DFFF here.
	ld	hl,#0xC000
	ld	bc,#0x2000
clear:
	xor	a
	ld	(hl+),a
	dec	bc
	ld	a,b
	or	c
	jr	nz,clear
	;; The DMA routine has to run from high RAM.
	ld	hl,#dma_source
	ld	c,#0x80
	ld	b,#10
copy_dma:
	ld	a,(hl+)
	ldh	(c),a
	inc	c
	dec	b
	jr	nz,copy_dma
	ld	a,#1
	ld	(0x2000),a
	;; Cartridge RAM on, for good; bank 0 of it.
	ld	a,#0x0A
	ld	(0x0000),a
	xor	a
	ld	(0x4000),a
	jp	_main
dma_source:
	ld	a,#0xC0
	ldh	(0x46),a
	ld	a,#40
dma_wait:
	dec	a
	jr	nz,dma_wait
	ret

	.area	_CODE
;; Once a frame: sprites, scroll registers, the window's place.
vblank:
	push	af
	push	bc
	push	de
	push	hl
	call	0xFF80
	ld	a,(0xC0A1)
	ldh	(0x43),a		; SCX
	ld	a,(0xC0A2)
	ldh	(0x42),a		; SCY
	ld	a,(0xC0A3)
	ldh	(0x4A),a		; WY
	ld	a,#1
	ld	(0xC0A0),a		; a frame has passed
	pop	hl
	pop	de
	pop	bc
	pop	af
	reti

_halt_cpu::
	halt
	nop
	ret

;; Copy (C0A8) bytes from (C0A4) in ROM bank (C0AA) to (C0A6).
;; Bank 1 is mapped again on return: the program's own code lies there.
_copy_run::
	ld	a,(0xC0AA)
	ld	(0x2000),a
	ld	hl,#0xC0A4
	ld	a,(hl+)
	ld	c,a
	ld	a,(hl+)
	ld	b,a
	push	bc			; source
	ld	a,(hl+)
	ld	e,a
	ld	a,(hl+)
	ld	d,a			; destination
	ld	a,(hl+)
	ld	c,a
	ld	a,(hl+)
	ld	b,a			; length
	pop	hl
	call	count_in_two
	jr	z,copy_done
copy_loop:
	ld	a,(hl+)
	ld	(de),a
	inc	de
	dec	c
	jr	nz,copy_loop
	dec	b
	jr	nz,copy_loop
copy_done:
	ld	a,#1
	ld	(0x2000),a
	ret

;; The same towards video memory while the picture is on: every byte waits
;; until the display controller leaves video memory alone.
_copy_run_video::
	ld	a,(0xC0AA)
	ld	(0x2000),a
	ld	hl,#0xC0A4
	ld	a,(hl+)
	ld	c,a
	ld	a,(hl+)
	ld	b,a
	push	bc
	ld	a,(hl+)
	ld	e,a
	ld	a,(hl+)
	ld	d,a
	ld	a,(hl+)
	ld	c,a
	ld	a,(hl+)
	ld	b,a
	pop	hl
	call	count_in_two
	jr	z,copy_done
video_loop:
	ldh	a,(0x41)
	and	#2
	jr	nz,video_loop
	ld	a,(hl+)
	ld	(de),a
	inc	de
	dec	c
	jr	nz,video_loop
	dec	b
	jr	nz,video_loop
	jr	copy_done

;; A length in BC becomes two counters of 8 bits for nested loops: B goes round once more than the high byte says, unless C
;; starts at 0. Z is set if the length is 0.
count_in_two:
	ld	a,b
	or	c
	ret	z
	ld	a,c
	or	a
	jr	z,count_even
	inc	b
count_even:
	ld	a,b			; at least 1 now
	or	a
	ret

;; Sum of (C0A8) bytes from (C0A4) on, modulo 65536, left in (C0A6). Not for a length of 0.
_sum_run::
	ld	hl,#0xC0A8
	ld	a,(hl+)
	ld	c,a
	ld	b,(hl)
	ld	hl,#0xC0A4
	ld	a,(hl+)
	ld	h,(hl)
	ld	l,a
	ld	de,#0
	call	count_in_two
sum_loop:
	ld	a,(hl+)
	add	a,e
	ld	e,a
	jr	nc,sum_next
	inc	d
sum_next:
	dec	c
	jr	nz,sum_loop
	dec	b
	jr	nz,sum_loop
	ld	a,e
	ld	(0xC0A6),a
	ld	a,d
	ld	(0xC0A7),a
	ret
