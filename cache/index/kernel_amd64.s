#include "textflag.h"

// func dotRowsAVX2(out *int32, rows *int8, n int, query *int16, stride int)
//
// 32 values a turn: VPMOVSXBW widens 16 int8 to int16, VPMADDWD multiplies them with 16 values of the query and adds
// neighbours to int32. 2·127·32767 fits; that whole rows fit is the caller's care (maxQuery).
TEXT ·dotRowsAVX2(SB), NOSPLIT, $0-40
	MOVQ out+0(FP), DI
	MOVQ rows+8(FP), SI
	MOVQ n+16(FP), CX
	MOVQ query+24(FP), DX
	MOVQ stride+32(FP), BX

row:
	VPXOR Y0, Y0, Y0
	VPXOR Y1, Y1, Y1
	XORQ  AX, AX

column:
	VPMOVSXBW   (SI)(AX*1), Y2
	VPMOVSXBW   16(SI)(AX*1), Y3
	VPMADDWD    (DX)(AX*2), Y2, Y2
	VPMADDWD    32(DX)(AX*2), Y3, Y3
	VPADDD      Y2, Y0, Y0
	VPADDD      Y3, Y1, Y1
	ADDQ        $32, AX
	CMPQ        AX, BX
	JLT         column

	VPADDD       Y1, Y0, Y0
	VEXTRACTI128 $1, Y0, X1
	VPADDD       X1, X0, X0
	VPSHUFD      $0x4E, X0, X1
	VPADDD       X1, X0, X0
	VPSHUFD      $0xB1, X0, X1
	VPADDD       X1, X0, X0
	VMOVD        X0, (DI)
	ADDQ         $4, DI
	ADDQ         BX, SI
	DECQ         CX
	JNZ          row

	VZEROUPPER
	RET
