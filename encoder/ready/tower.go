package ready

import (
	"fmt"
	"slices"
	"strings"
)

// Tower is one tower within a ready graph: the part of it between an input and an output.
type Tower struct {
	Input     string // as the graph names it
	Output    string
	Batch     int    // rows of a run where the graph fixes them; 0 is any number
	Length    int    // text: tokens of a prompt where the graph fixes them; 0 is any number
	Size      int    // image: pixels a side where the graph fixes them
	Dimension int    // 0 where the graph does not say
	Precision string // fp32, fp16, int8 or int8-dynamic

	file   string
	graph  *graph
	input  value
	output value
	mask   *value // of tokens that count
	last   bool   // channels are the last axis of the image
	kept   []node
	used   map[string]bool // values that the kept nodes read
}

// Names of outputs by what they hold, best first. One of another name is taken where there is no choice.
var (
	imageOutputs = []string{"image_embeds", "image_embedding", "image_embeddings", "image_features", "embedding", "embeddings", "output"}
	textOutputs  = []string{"text_embeds", "text_embedding", "text_embeddings", "text_features", "embedding", "embeddings", "output"}
)

// findTower finds the image or text tower of a graph by the ranks and element types of inputs and outputs; names decide
// only where several would do.
func findTower(file string, g *graph, image bool) (*Tower, error) {
	t := &Tower{file: file, graph: g, Precision: "fp32"}
	var err error
	if image {
		err = t.imageInput()
	} else {
		err = t.textInput()
	}
	if err == nil {
		err = t.chooseOutput(image)
	}
	if err == nil {
		err = t.reach()
	}
	if err != nil {
		return nil, err
	}
	t.Input, t.Output, t.Dimension = t.input.name, t.output.name, int(t.output.dims[1])
	if n := t.input.dims[0]; n > 1 {
		return nil, fmt.Errorf("its batch is fixed at %d, want 1 or a free one: %w", n, ErrTower)
	} else if n == 1 {
		t.Batch = 1
	}
	t.precision()
	return t, nil
}

func (t *Tower) imageInput() error {
	for _, v := range t.graph.inputs {
		if len(v.dims) != 4 || v.elem != elemFloat && v.elem != elemFloat16 && v.elem != elemUint8 {
			continue
		}
		if t.input.name != "" {
			return fmt.Errorf("inputs %.40q and %.40q could both be the picture: %w", t.input.name, v.name, ErrTower)
		}
		t.input = v
	}
	if t.input.name == "" {
		return fmt.Errorf("no input of four axes, float or uint8, which a picture is: it has %s: %w", list(t.graph.inputs), ErrTower)
	}
	d := t.input.dims
	t.last = d[3] == 3 && d[1] != 3 || d[1] == 0 && d[3] == 0 && t.input.elem == elemUint8
	height, width := d[2], d[3]
	if t.last {
		height, width = d[1], d[2]
	}
	if channels := d[1]; !t.last && channels != 0 && channels != 3 || height != width {
		return fmt.Errorf("its picture is %v, want [batch, 3, size, size] or [batch, size, size, 3]: %w", d, ErrTower)
	}
	t.Size = int(height)
	return nil
}

func (t *Tower) textInput() error {
	for _, v := range t.graph.inputs {
		if len(v.dims) != 2 || v.elem != elemInt32 && v.elem != elemInt64 {
			continue
		}
		if strings.Contains(v.name, "mask") {
			t.mask = &v
			continue
		}
		if strings.Contains(v.name, "position") || strings.Contains(v.name, "type") {
			continue // reach says whether the tower needs it
		}
		if t.input.name != "" {
			return fmt.Errorf("inputs %.40q and %.40q could both be the tokens: %w", t.input.name, v.name, ErrTower)
		}
		t.input = v
	}
	if t.input.name == "" {
		return fmt.Errorf("no input of two axes, int32 or int64, which tokens are: it has %s: %w", list(t.graph.inputs), ErrTower)
	}
	t.Length = int(t.input.dims[1])
	return nil
}

// chooseOutput takes rows of embeddings. Hidden states are none, and neither is pooler_output: it lacks the projection.
func (t *Tower) chooseOutput(image bool) error {
	names := textOutputs
	if image {
		names = imageOutputs
	}
	var rows []value
	for _, v := range t.graph.outputs {
		other := strings.HasPrefix(v.name, "text_") && image || strings.HasPrefix(v.name, "image_") && !image
		if len(v.dims) == 2 && (v.elem == elemFloat || v.elem == elemFloat16) && !other && !strings.Contains(v.name, "pooler") && !strings.HasPrefix(v.name, "logits") {
			rows = append(rows, v)
		}
	}
	for _, name := range names {
		if i := slices.IndexFunc(rows, func(v value) bool { return v.name == name }); i >= 0 {
			t.output = rows[i]
			return nil
		}
	}
	if len(rows) == 1 {
		t.output = rows[0]
		return nil
	}
	return fmt.Errorf("no output that is an embedding (two axes, float): it has %s; export the model with its projection, as image_embeds or text_embeds: %w",
		list(t.graph.outputs), ErrTower)
}

// reach keeps the nodes from which the output follows. What else is in the graph, such as the other tower, falls away.
func (t *Tower) reach() error {
	by := make(map[string]int, len(t.graph.nodes))
	for i, n := range t.graph.nodes {
		for _, o := range n.outputs {
			if o != "" {
				by[o] = i
			}
		}
	}
	t.used = map[string]bool{t.output.name: true}
	keep := make([]bool, len(t.graph.nodes))
	todo := []string{t.output.name}
	for len(todo) > 0 {
		name := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		i, made := by[name]
		if !made || keep[i] {
			continue
		}
		keep[i] = true
		for _, in := range t.graph.nodes[i].inputs {
			if in != "" && !t.used[in] {
				t.used[in] = true
				todo = append(todo, in)
			}
		}
	}
	for i, n := range t.graph.nodes {
		if keep[i] {
			t.kept = append(t.kept, n)
		}
	}
	if !t.used[t.input.name] {
		return fmt.Errorf("its output %.40q does not depend on %.40q: %w", t.output.name, t.input.name, ErrTower)
	}
	if t.mask != nil && !t.used[t.mask.name] {
		t.mask = nil
	}
	for _, v := range t.graph.inputs {
		if t.used[v.name] && v.name != t.input.name && (t.mask == nil || v.name != t.mask.name) {
			return fmt.Errorf("it wants %.40q besides %.40q: %w", v.name, t.input.name, ErrTower)
		}
	}
	return nil
}

// precision looks at what the tower computes with. Ranges that are measured in each run make the rows of a batch depend
// on each other: such a tower is run with one at a time.
func (t *Tower) precision() {
	for _, n := range t.kept {
		switch n.op {
		case "DynamicQuantizeLinear", "DynamicQuantizeMatMul", "DynamicQuantizeLSTM":
			t.Precision, t.Batch = "int8-dynamic", 1
			return
		case "QuantizeLinear", "QLinearMatMul", "QLinearConv", "MatMulInteger":
			t.Precision = "int8"
		}
	}
	if t.Precision == "int8" {
		return
	}
	for _, i := range t.graph.tensors {
		if t.used[i.name] && i.elem == elemFloat16 {
			t.Precision = "fp16"
		}
	}
}

// list names inputs or outputs with their axes, for messages.
func list(values []value) string {
	var b strings.Builder
	for i, v := range values[:min(len(values), 6)] {
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "%.40q with %d axes", v.name, len(v.dims))
	}
	if len(values) == 0 {
		return "none"
	}
	return b.String()
}
