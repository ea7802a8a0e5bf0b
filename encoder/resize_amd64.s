#include "textflag.h"

// Lane order that undoes the interleaving of two packs.
DATA unpack<>+0(SB)/4, $0
DATA unpack<>+4(SB)/4, $4
DATA unpack<>+8(SB)/4, $1
DATA unpack<>+12(SB)/4, $5
DATA unpack<>+16(SB)/4, $2
DATA unpack<>+20(SB)/4, $6
DATA unpack<>+24(SB)/4, $3
DATA unpack<>+28(SB)/4, $7
GLOBL unpack<>(SB), RODATA|NOPTR, $32

// func verticalAVX2(dst, src *byte, coef *int32, taps, stride, n int)
// 32 bytes of the row at a time: multiply by 32-bit coefficients, add, shift, saturate.
TEXT ·verticalAVX2(SB), NOSPLIT, $0-48
	MOVQ dst+0(FP), DI
	MOVQ src+8(FP), SI
	MOVQ coef+16(FP), BX
	MOVQ taps+24(FP), CX
	MOVQ stride+32(FP), DX
	MOVQ n+40(FP), R8
	MOVL $0x200000, AX
	VMOVD AX, X15
	VPBROADCASTD X15, Y15
	VMOVDQU unpack<>(SB), Y14

block:
	VMOVDQA Y15, Y0
	VMOVDQA Y15, Y1
	VMOVDQA Y15, Y2
	VMOVDQA Y15, Y3
	MOVQ SI, R9
	MOVQ BX, R10
	MOVQ CX, R11

tap:
	VPBROADCASTD (R10), Y4
	VPMOVZXBD (R9), Y5
	VPMOVZXBD 8(R9), Y6
	VPMOVZXBD 16(R9), Y7
	VPMOVZXBD 24(R9), Y8
	VPMULLD Y4, Y5, Y5
	VPMULLD Y4, Y6, Y6
	VPMULLD Y4, Y7, Y7
	VPMULLD Y4, Y8, Y8
	VPADDD Y5, Y0, Y0
	VPADDD Y6, Y1, Y1
	VPADDD Y7, Y2, Y2
	VPADDD Y8, Y3, Y3
	ADDQ DX, R9
	ADDQ $4, R10
	DECQ R11
	JNZ  tap

	VPSRAD $22, Y0, Y0
	VPSRAD $22, Y1, Y1
	VPSRAD $22, Y2, Y2
	VPSRAD $22, Y3, Y3
	VPACKSSDW Y1, Y0, Y0
	VPACKSSDW Y3, Y2, Y2
	VPACKUSWB Y2, Y0, Y0
	VPERMD Y0, Y14, Y0
	VMOVDQU Y0, (DI)
	ADDQ $32, SI
	ADDQ $32, DI
	SUBQ $32, R8
	JG   block
	VZEROUPPER
	RET

// func horizontalAVX2(dst, src *byte, first, wide *int32, pairs, n int)
// Two pixels at a time against two coefficients, each repeated for the four channels.
TEXT ·horizontalAVX2(SB), NOSPLIT, $0-48
	MOVQ dst+0(FP), DI
	MOVQ src+8(FP), SI
	MOVQ first+16(FP), DX
	MOVQ wide+24(FP), BX
	MOVQ pairs+32(FP), CX
	MOVQ n+40(FP), R8
	MOVL $0x200000, AX
	VMOVD AX, X15
	VPBROADCASTD X15, X15

pixel:
	MOVLQSX (DX), R9
	LEAQ (SI)(R9*4), R9
	MOVQ CX, R11
	VPXOR Y0, Y0, Y0

pair:
	VPMOVZXBD (R9), Y1
	VPMULLD (BX), Y1, Y1
	VPADDD Y1, Y0, Y0
	ADDQ $8, R9
	ADDQ $32, BX
	DECQ R11
	JNZ  pair

	VEXTRACTI128 $1, Y0, X1
	VPADDD X1, X0, X0
	VPADDD X15, X0, X0
	VPSRAD $22, X0, X0
	VPACKSSDW X0, X0, X0
	VPACKUSWB X0, X0, X0
	VMOVD X0, (DI)
	ADDQ $4, DI
	ADDQ $4, DX
	DECQ R8
	JNZ  pixel
	VZEROUPPER
	RET
