package torchfile

import (
	"fmt"
	"math"
	"strings"

	"github.com/tilescout/tilescout/encoder/checkpoint/tensor"
)

// dangerous are modules whose functions run code, start programs or touch files. Nothing here would call them; a file that
// names one is no checkpoint, and its owner should know.
var dangerous = []string{
	"os", "posix", "nt", "subprocess", "sys", "builtins", "__builtin__", "runpy", "pty", "socket", "shutil", "importlib", "imp", "pickle",
	"_pickle", "cPickle", "dill", "cloudpickle", "ctypes", "code", "codeop", "timeit", "webbrowser", "commands", "platform", "pip", "multiprocessing", "threading",
	"asyncio", "signal", "tempfile", "io", "_io", "urllib", "http", "requests", "httplib", "ftplib", "operator", "_operator", "functools", "types", "marshal", "bdb",
	"pdb", "cProfile", "profile", "trace", "doctest", "unittest", "site", "zipimport", "pkgutil", "pydoc", "idlelib", "lib2to3", "uuid", "distutils", "setuptools",
	"ssl", "smtplib", "glob", "fileinput", "nturl2path", "aiohttp", "concurrent", "select", "mmap", "gc", "inspect", "atexit", "weakref",
}

// harmless are the classes of those modules that training files hold.
var harmless = map[global]bool{
	{"builtins", "set"}: true, {"builtins", "frozenset"}: true, {"builtins", "dict"}: true, {"builtins", "list"}: true, {"builtins", "int"}: true,
	{"builtins", "float"}: true, {"builtins", "str"}: true, {"builtins", "bool"}: true, {"builtins", "tuple"}: true, {"builtins", "slice"}: true, {"builtins", "complex"}: true,
	{"builtins", "bytes"}: true, {"builtins", "bytearray"}: true, {"builtins", "object"}: true, {"builtins", "range"}: true,
	{"__builtin__", "set"}: true, {"__builtin__", "dict"}: true, {"__builtin__", "list"}: true, {"__builtin__", "object"}: true, {"__builtin__", "long"}: true,
	{"types", "SimpleNamespace"}: true, {"functools", "partial"}: true,
}

func (g global) runsCode() bool {
	if harmless[g] {
		return false
	}
	if g.module == "torch" && (g.name == "load" || g.name == "compile") || strings.HasPrefix(g.module, "torch.hub") || strings.HasPrefix(g.module, "torch.utils.cpp_extension") ||
		g.module == "numpy" && g.name == "load" {
		return true
	}
	root, _, _ := strings.Cut(g.module, ".")
	for _, d := range dangerous {
		if root == d {
			return true
		}
	}
	return false
}

// storageTypes are the classes of storages in the module torch.
var storageTypes = map[string]tensor.Type{
	"FloatStorage": tensor.Float32, "HalfStorage": tensor.Float16, "BFloat16Storage": tensor.BFloat16, "DoubleStorage": tensor.Float64,
	"LongStorage": tensor.Int64, "IntStorage": tensor.Int32, "ShortStorage": tensor.Int16, "CharStorage": tensor.Int8,
	"ByteStorage": tensor.Uint8, "BoolStorage": tensor.Bool,
}

// persistent turns ("storage", type, key, location, number of elements[, view]) into a storage. The location is the
// device on which it was; it does not matter.
func (m *machine) persistent() error {
	v, err := m.pop()
	if err != nil {
		return err
	}
	id, _ := v.(tuple)
	if len(id) < 5 || id[0] != "storage" {
		return fmt.Errorf("persistent id that is no storage: %w", ErrPickle)
	}
	class, _ := id[1].(global)
	key, ok := id[2].(string)
	count, ok2 := id[4].(int64)
	if !ok || !ok2 || count < 0 || key == "" || len(key) > 64 {
		return fmt.Errorf("storage of %v elements: %w", id[4], ErrPickle)
	}
	if len(id) > 5 && id[5] != nil {
		return fmt.Errorf("storage that is a view of another, as in files of 2017: %w", ErrPickle)
	}
	kind, ok := storageTypes[class.name]
	if !ok || class.module != "torch" && class.module != "torch.cuda" {
		return fmt.Errorf("storage of %.80s: %w", class, tensor.ErrType)
	}
	s := &storage{key: key, kind: kind, count: count}
	if m.storages[key] == nil {
		m.storages[key] = s
	}
	return m.push(s)
}

// reduce stands for a call: by name for the functions that describe tensors, as an unknown object for all others.
func (m *machine) reduce() error {
	a, err := m.pop()
	if err != nil {
		return err
	}
	f, err := m.pop()
	if err != nil {
		return err
	}
	g, ok := f.(global)
	args, ok2 := a.(tuple)
	if !ok || !ok2 {
		return fmt.Errorf("call of what is no function: %w", ErrPickle)
	}
	switch g {
	case global{"collections", "OrderedDict"}, global{"collections", "defaultdict"}, global{"builtins", "dict"}, global{"__builtin__", "dict"}:
		return m.orderedDict(args)
	case global{"torch._utils", "_rebuild_tensor_v2"}, global{"torch._utils", "_rebuild_tensor"}:
		v, err := rebuild(args)
		if err != nil {
			return err
		}
		return m.push(v)
	case global{"torch._utils", "_rebuild_tensor_v3"}:
		return fmt.Errorf("tensor of a newer type (float8 and the like): %w", tensor.ErrType)
	case global{"torch._utils", "_rebuild_qtensor"}:
		return fmt.Errorf("quantised tensor: %w", tensor.ErrType)
	case global{"torch._utils", "_rebuild_parameter"}, global{"torch._utils", "_rebuild_parameter_with_state"},
		global{"torch.nn.parameter", "Parameter"}, global{"torch.jit._pickle", "restore_type_tag"}:
		if len(args) == 0 {
			return fmt.Errorf("%s of nothing: %w", g, ErrPickle)
		}
		return m.push(args[0])
	}
	return m.push(&object{class: g})
}

// orderedDict builds a dictionary, from pairs where Python 2 wrote them as an argument.
func (m *machine) orderedDict(args tuple) error {
	d := &dict{}
	if len(args) > 0 {
		pairs, _ := args[len(args)-1].(*list)
		if pairs != nil {
			for _, p := range pairs.items {
				var k, v any
				switch p := p.(type) {
				case *list:
					if len(p.items) == 2 {
						k, v = p.items[0], p.items[1]
					}
				case tuple:
					if len(p) == 2 {
						k, v = p[0], p[1]
					}
				}
				d.keys, d.values = append(d.keys, k), append(d.values, v)
			}
		}
	}
	return m.push(d)
}

// rebuild reads (storage, offset, size, stride, …).
func rebuild(args tuple) (*view, error) {
	if len(args) < 4 {
		return nil, fmt.Errorf("tensor of %d arguments: %w", len(args), ErrPickle)
	}
	s, ok := args[0].(*storage)
	offset, ok2 := args[1].(int64)
	if !ok || !ok2 {
		return nil, fmt.Errorf("tensor without storage: %w", ErrPickle)
	}
	v := &view{storage: s, offset: offset}
	for _, row := range []struct {
		from any
		to   *[]int
	}{{args[2], &v.shape}, {args[3], &v.strides}} {
		items, ok := row.from.(tuple)
		if !ok || len(items) > tensor.MaxRank {
			return nil, fmt.Errorf("tensor with an impossible shape: %w", tensor.ErrShape)
		}
		for _, item := range items {
			n, ok := item.(int64)
			if !ok || n < 0 || n > math.MaxInt32*1024 || int64(int(n)) != n {
				return nil, fmt.Errorf("tensor with size or stride %v: %w", item, tensor.ErrShape)
			}
			*row.to = append(*row.to, int(n))
		}
	}
	return v, nil
}

// build gives an object its state. A dictionary's state is _metadata, which says nothing of weights.
func (m *machine) build() error {
	state, err := m.pop()
	if err != nil {
		return err
	}
	switch target := m.top().(type) {
	case *object:
		target.state = state
	case *dict, *list, *view:
	default:
		return fmt.Errorf("state for what has none: %w", ErrPickle)
	}
	return nil
}
