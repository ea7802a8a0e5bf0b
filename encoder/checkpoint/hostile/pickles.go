package hostile

import (
	"math"
	"strings"
)

// pickles are archives whose program is not what a checkpoint's is.
func pickles() map[string]func() []byte {
	run := func(program string) func() []byte {
		return func() []byte { return archive(program, map[string][]byte{"data/0": make([]byte, 64)}) }
	}
	call := func(global, argument string) func() []byte {
		p := &pickler{}
		return run(p.op("\x80\x02", "c"+global, "(").text(argument).op("t", "R", ".").String())
	}
	tensor := func(v view) func() []byte {
		v.name = "logit_scale"
		if v.class == "" {
			v.class = "FloatStorage"
		}
		if v.key == "" {
			v.key = "0"
		}
		return run(state(v))
	}
	return map[string]func() []byte{
		"code-os-system":       call("os\nsystem\n", "touch /tmp/tilescout-hostile"),
		"code-posix":           call("posix\nsystem\n", "true"),
		"code-eval":            call("builtins\neval\n", "1"),
		"code-exec-python2":    call("__builtin__\nexecfile\n", "x"),
		"code-subprocess":      call("subprocess\nPopen\n", "true"),
		"code-import":          call("importlib\nimport_module\n", "antigravity"),
		"code-torch-load":      call("torch\nload\n", "x"),
		"code-runpy":           call("runpy\n_run_code\n", "x"),
		"code-by-stack":        run("\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x04true\x85R."),
		"code-beside-weights":  run(strings.TrimSuffix(state(view{"logit_scale", "FloatStorage", "0", 16, 0, []int{}, []int{}}), "u.") + "X\x01\x00\x00\x00xcos\nsystem\n(X\x01\x00\x00\x00xtRu."),
		"code-by-instance":     run("\x80\x02(X\x04\x00\x00\x00trueios\nsystem\n."),
		"unknown-class":        call("mine\nModel\n", "x"),
		"no-end":               run("\x80\x02}"),
		"empty-program":        run(""),
		"stack-empty":          run("\x80\x02u."),
		"mark-only":            run("\x80\x02(."),
		"memo-miss":            run("\x80\x02h\x07."),
		"unknown-instruction":  run("\x80\x02\xfe."),
		"protocol-0":           run("(dp0\n."),
		"protocol-200":         run("\x80\xc8}."),
		"text-beyond":          run("\x80\x02X\xff\xff\xff\xffx."),
		"text-of-2^63":         run("\x80\x04\x8d\xff\xff\xff\xff\xff\xff\xff\x7fx."),
		"name-without-end":     run("\x80\x02c" + strings.Repeat("a", 5000)),
		"marks":                run("\x80\x02" + strings.Repeat("(", 1_200_000)),
		"lists":                run("\x80\x02" + strings.Repeat("]", 1_200_000) + "."),
		"lists-remembered":     run("\x80\x04" + strings.Repeat("]\x940", 700_000) + "."),
		"tuples-nested":        run("\x80\x02N" + strings.Repeat("\x85", 500_000) + "."),
		"build-on-nothing":     run("\x80\x02N}b."),
		"call-of-text":         run("\x80\x02X\x01\x00\x00\x00a)R."),
		"persistent-text":      run("\x80\x02X\x01\x00\x00\x00aQ."),
		"persistent-short":     run("\x80\x02X\x07\x00\x00\x00storage\x85Q."),
		"dictionary-in-itself": run("\x80\x02}q\x00X\x01\x00\x00\x00ah\x00s."),
		"dictionary-odd":       run("\x80\x02}(NNNu."),
		"laughs": func() []byte {
			p := &pickler{}
			p.op("\x80\x02")
			p.op("}", "q\x00")
			for i := range 60 { // each level holds the one before it ten times
				p.op("}", "(")
				for k := range 10 {
					p.text(string(rune('a'+k))).op("h", string([]byte{byte(i)}))
				}
				p.op("u", "q", string([]byte{byte(i + 1)}))
			}
			return archive(p.op(".").String(), nil)
		},
		"state-list":          run("\x80\x02]."),
		"state-empty":         run("\x80\x02}."),
		"state-float8":        run("\x80\x02}X\x01\x00\x00\x00actorch._utils\n_rebuild_tensor_v3\n)Rs."),
		"state-quantised":     run("\x80\x02}X\x01\x00\x00\x00actorch._utils\n_rebuild_qtensor\n)Rs."),
		"state-no-arguments":  run("\x80\x02}X\x01\x00\x00\x00actorch._utils\n_rebuild_tensor_v2\n)Rs."),
		"storage-missing":     tensor(view{key: "7", count: 16, shape: []int{16}, strides: []int{1}}),
		"storage-climbs":      tensor(view{key: "../../etc/passwd", count: 16, shape: []int{16}, strides: []int{1}}),
		"storage-of-2^62":     tensor(view{count: 1 << 62, shape: []int{1}, strides: []int{1}}),
		"storage-negative":    tensor(view{count: -16, shape: []int{1}, strides: []int{1}}),
		"storage-other-size":  tensor(view{count: 17, shape: []int{17}, strides: []int{1}}),
		"storage-other-type":  tensor(view{class: "ComplexFloatStorage", count: 16, shape: []int{16}, strides: []int{1}}),
		"offset-negative":     tensor(view{count: 16, offset: -4, shape: []int{4}, strides: []int{1}}),
		"offset-beyond":       tensor(view{count: 16, offset: 17, shape: []int{}, strides: []int{}}),
		"offset-wraps":        tensor(view{count: 16, offset: math.MaxInt64, shape: []int{4}, strides: []int{1}}),
		"stride-beyond":       tensor(view{count: 16, shape: []int{4, 4}, strides: []int{5, 1}}),
		"stride-negative":     tensor(view{count: 16, shape: []int{4}, strides: []int{-1}}),
		"stride-wraps":        tensor(view{count: 16, shape: []int{1 << 31, 1 << 31}, strides: []int{1 << 40, 1 << 40}}),
		"stride-none":         tensor(view{count: 16, shape: []int{4}, strides: []int{}}),
		"expanded-to-2^60":    tensor(view{count: 16, shape: []int{1 << 30, 1 << 30}, strides: []int{0, 0}}),
		"expanded-to-1-GB":    tensor(view{count: 16, shape: []int{1 << 14, 1 << 14}, strides: []int{0, 0}}),
		"shape-negative":      tensor(view{count: 16, shape: []int{-1}, strides: []int{1}}),
		"shape-of-twenty":     tensor(view{count: 16, shape: make([]int, 20), strides: make([]int, 20)}),
		"tensor-twice":        run(state(view{"a", "FloatStorage", "0", 16, 0, []int{1}, []int{1}}, view{"a", "FloatStorage", "0", 16, 0, []int{1}, []int{1}})),
		"tensor-without-name": run(state(view{"", "FloatStorage", "0", 16, 0, []int{1}, []int{1}})),
		"tensor-named-nul":    run(state(view{"a\x00", "FloatStorage", "0", 16, 0, []int{1}, []int{1}})),
	}
}
