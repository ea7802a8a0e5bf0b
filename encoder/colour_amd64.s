#include "textflag.h"

// func blendAVX2(dst *int16, near, far *uint8, n int)
// dst = 3·near + far, 16 samples at a time; n is a multiple of 16.
TEXT ·blendAVX2(SB), NOSPLIT, $0-32
	MOVQ dst+0(FP), DI
	MOVQ near+8(FP), SI
	MOVQ far+16(FP), DX
	MOVQ n+24(FP), CX

loop:
	VPMOVZXBW (SI), Y0
	VPMOVZXBW (DX), Y1
	VPADDW Y0, Y1, Y1
	VPADDW Y0, Y0, Y0
	VPADDW Y0, Y1, Y1
	VMOVDQU Y1, (DI)
	ADDQ $16, SI
	ADDQ $16, DX
	ADDQ $32, DI
	SUBQ $16, CX
	JG   loop
	VZEROUPPER
	RET

// func widenAVX2(dst *uint8, row *int16, n, even, odd int)
// dst[2i] = (3·row[i+1] + row[i] + even) / 16, dst[2i+1] = (3·row[i+1] + row[i+2] + odd) / 16; n, of row, is a multiple of 16.
TEXT ·widenAVX2(SB), NOSPLIT, $0-40
	MOVQ dst+0(FP), DI
	MOVQ row+8(FP), SI
	MOVQ n+16(FP), CX
	MOVQ odd+32(FP), AX
	VMOVD AX, X6
	VPBROADCASTW X6, Y6
	MOVQ even+24(FP), AX
	VMOVD AX, X7
	VPBROADCASTW X7, Y7

loop:
	VMOVDQU 2(SI), Y0
	VPADDW Y0, Y0, Y1
	VPADDW Y0, Y1, Y1
	VPADDW (SI), Y1, Y2
	VPADDW Y7, Y2, Y2
	VPSRLW $4, Y2, Y2
	VPADDW 4(SI), Y1, Y3
	VPADDW Y6, Y3, Y3
	VPSRLW $4, Y3, Y3
	VPSLLW $8, Y3, Y3
	VPOR Y2, Y3, Y3
	VMOVDQU Y3, (DI)
	ADDQ $32, SI
	ADDQ $32, DI
	SUBQ $16, CX
	JG   loop
	VZEROUPPER
	RET

#define CONST(value, reg, xreg) \
	MOVL $value, AX \
	VMOVD AX, xreg \
	VPBROADCASTD xreg, reg

// clamp to 0…255
#define CLAMP(reg) \
	VPMAXSD Y15, reg, reg \
	VPMINSD Y14, reg, reg

// func fullRangeAVX2(out, luma, cb, cr *uint8, n int)
// As fullRangeGo, 8 pixels at a time; n is a multiple of 8. The fourth byte of a pixel becomes 0.
TEXT ·fullRangeAVX2(SB), NOSPLIT, $0-40
	MOVQ out+0(FP), DI
	MOVQ luma+8(FP), SI
	MOVQ cb+16(FP), DX
	MOVQ cr+24(FP), BX
	MOVQ n+32(FP), CX
	VPXOR Y15, Y15, Y15
	CONST(255, Y14, X14)
	CONST(128, Y13, X13)
	CONST(32768, Y12, X12)
	CONST(91881, Y11, X11)
	CONST(22554, Y10, X10)
	CONST(46802, Y9, X9)
	CONST(116130, Y8, X8)

loop:
	VPMOVZXBD (SI), Y0
	VPMOVZXBD (DX), Y1
	VPMOVZXBD (BX), Y2
	VPSUBD Y13, Y1, Y1
	VPSUBD Y13, Y2, Y2
	VPMULLD Y11, Y2, Y3
	VPADDD Y12, Y3, Y3
	VPSRAD $16, Y3, Y3
	VPADDD Y0, Y3, Y3
	CLAMP(Y3)
	VPMULLD Y10, Y1, Y4
	VPMULLD Y9, Y2, Y5
	VPSUBD Y4, Y12, Y4
	VPSUBD Y5, Y4, Y4
	VPSRAD $16, Y4, Y4
	VPADDD Y0, Y4, Y4
	CLAMP(Y4)
	VPMULLD Y8, Y1, Y5
	VPADDD Y12, Y5, Y5
	VPSRAD $16, Y5, Y5
	VPADDD Y0, Y5, Y5
	CLAMP(Y5)
	VPSLLD $8, Y4, Y4
	VPSLLD $16, Y5, Y5
	VPOR Y3, Y4, Y4
	VPOR Y4, Y5, Y5
	VMOVDQU Y5, (DI)
	ADDQ $8, SI
	ADDQ $8, DX
	ADDQ $8, BX
	ADDQ $32, DI
	SUBQ $8, CX
	JG   loop
	VZEROUPPER
	RET
