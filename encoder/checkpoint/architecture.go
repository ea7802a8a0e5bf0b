package checkpoint

import (
	"fmt"
	"math"
	"path/filepath"
	"strconv"
	"strings"
)

// Kinds of image tower.
const (
	ViT    = "vit"
	ResNet = "resnet" // ModifiedResNet of openai/CLIP: three-convolution stem, average-pooled strides, attention pool
)

// Activations of the towers' perceptrons.
const (
	QuickGELU = "quick_gelu" // x·sigmoid(1.702·x)
	GELU      = "gelu"       // x·Φ(x), exact
	TanhGELU  = "gelu_tanh"
)

var activations = []string{QuickGELU, GELU, TanhGELU}

// Rules of where a prompt's embedding is taken from the text tower's rows.
const (
	PoolEnd     = "eos"    // the first place of the end token
	PoolLargest = "argmax" // the first place of the largest id, which is the end token unless ids were added above it
)

// Architecture is the form of both towers: everything that shapes and config say, nothing of the weights.
type Architecture struct {
	Kind string // ViT or ResNet

	// Image tower.
	ImageSize  int    // pixels a side
	PatchSize  int    // pixels a side of a patch; ResNet: 32, the tower's stride
	Width      int    // channels of a token; ResNet: of the first stage, before its expansion by 4
	Layers     int    // ViT only
	Heads      int    // ResNet: of the attention pool
	MLP        int    // ViT only
	Stages     [4]int // ResNet only: blocks of each stage
	Positions  int    // rows of the position table: patches and, first, the class token (ResNet: the mean)
	Norm       float64
	Activation string // of the image tower; a ResNet has ReLU there and this is its text tower's

	// Text tower.
	TextContext    int // tokens with start and end
	TextWidth      int
	TextLayers     int
	TextHeads      int
	TextMLP        int
	Vocabulary     int
	TextNorm       float64
	TextActivation string
	BOS, EOS       int    // ids of the start and the end token
	Pooling        string // PoolEnd or PoolLargest

	Dimension int // of an embedding

	// ActivationFrom says what decided on the activation: config, option, format, or "guess" with which a bare file's name
	// or size was taken for a hint. Callers warn of a guess.
	ActivationFrom string
	// Extended says that the position table was put together from two (Long-CLIP).
	Extended bool
}

// Name is the usual name of an architecture, such as ViT-B/32, or one made of its sizes.
func (a Architecture) Name() string {
	if a.Kind == ResNet {
		if n := a.Stages; n == [4]int{3, 4, 6, 3} && a.Width == 64 {
			return "RN50"
		}
		return fmt.Sprintf("ResNet %v, width %d", a.Stages, a.Width)
	}
	size := map[[2]int]string{{768, 12}: "B", {1024, 24}: "L", {1280, 32}: "H", {1408, 40}: "g", {1664, 48}: "bigG"}[[2]int{a.Width, a.Layers}]
	if size == "" {
		return fmt.Sprintf("ViT %d×%d/%d", a.Width, a.Layers, a.PatchSize)
	}
	name := fmt.Sprintf("ViT-%s/%d", size, a.PatchSize)
	if a.ImageSize != 224 {
		name += fmt.Sprintf(" %d px", a.ImageSize)
	}
	if a.TextContext != 77 {
		name += fmt.Sprintf(", %d tokens", a.TextContext)
	}
	return name
}

// Limits on an architecture: well beyond any CLIP that was published, and small enough that no product overflows.
const (
	maxWidth      = 16384
	maxLayers     = 256
	maxImage      = 1024
	maxContext    = 1024
	maxVocabulary = 1 << 20
)

// hint is what a bare file tells beside its tensors.
type hint struct {
	file   string
	script bool // a TorchScript archive, as OpenAI publishes them
}

// describe finds the architecture: sizes from the shapes, what shapes do not tell from the config.
func describe(n *names, cfg *configs, h hint, o Options) (Architecture, error) {
	a := Architecture{Norm: 1e-5, TextNorm: 1e-5, Extended: n.extended}
	if err := a.describeText(n); err != nil {
		return a, err
	}
	if err := a.describeImage(n); err != nil {
		return a, err
	}
	a.EOS, a.Pooling = min(a.Vocabulary, 49408)-1, PoolLargest
	a.BOS = a.EOS - 1
	if err := cfg.apply(&a); err != nil {
		return a, err
	}
	if a.Activation == "" && n.dialect == "" {
		a.Activation, a.TextActivation, a.ActivationFrom = QuickGELU, QuickGELU, "format" // what transformers takes without a config
	}
	if a.Activation == "" {
		a.Activation, a.ActivationFrom = guessActivation(a, h)
		a.TextActivation = a.Activation
	}
	if o.Activation != "" {
		a.Activation, a.TextActivation, a.ActivationFrom = o.Activation, o.Activation, "option"
	}
	return a, a.validate()
}

func (a *Architecture) describeText(n *names) error {
	table, err := n.want("text_model.embeddings.token_embedding.weight", 2)
	if err != nil {
		return err
	}
	positions, err := n.want("text_model.embeddings.position_embedding.weight", 2)
	if err != nil {
		return err
	}
	projection, err := n.want("text_projection.weight", 2)
	if err != nil {
		return err
	}
	fc1, err := n.want("text_model.encoder.layers.0.mlp.fc1.weight", 2)
	if err != nil {
		return err
	}
	a.Vocabulary, a.TextWidth, a.TextContext, a.Dimension, a.TextMLP = table[0], table[1], positions[0], projection[0], fc1[0]
	a.TextLayers = n.layers("text_model.encoder.layers.")
	a.TextHeads = a.TextWidth / 64
	return nil
}

func (a *Architecture) describeImage(n *names) error {
	if n.has("visual.attnpool.positional_embedding") {
		return a.describeResNet(n)
	}
	a.Kind = ViT
	patches, err := n.want("vision_model.embeddings.patch_embedding.weight", 4)
	if err != nil {
		return err
	}
	positions, err := n.want("vision_model.embeddings.position_embedding.weight", 2)
	if err != nil {
		return err
	}
	fc1, err := n.want("vision_model.encoder.layers.0.mlp.fc1.weight", 2)
	if err != nil {
		return err
	}
	a.Width, a.PatchSize, a.Positions, a.MLP = patches[0], patches[3], positions[0], fc1[0]
	side, err := square(a.Positions)
	if err != nil {
		return err
	}
	a.ImageSize = side * a.PatchSize
	a.Layers = n.layers("vision_model.encoder.layers.")
	// Heads are 64 wide but in the three largest towers (open_clip's model configs).
	head := map[int]int{1280: 80, 1408: 88, 1664: 104}[a.Width]
	a.Heads = a.Width / max(head, 64)
	return nil
}

func (a *Architecture) describeResNet(n *names) error {
	a.Kind = ResNet
	conv, err := n.want("visual.layer1.0.conv1.weight", 4)
	if err != nil {
		return err
	}
	positions, err := n.want("visual.attnpool.positional_embedding", 2)
	if err != nil {
		return err
	}
	a.Width, a.Positions, a.PatchSize = conv[0], positions[0], 32
	side, err := square(a.Positions)
	if err != nil {
		return err
	}
	a.ImageSize = 32 * side
	a.Heads = a.Width * 32 / 64
	for i := range a.Stages {
		a.Stages[i] = n.layers("visual.layer" + strconv.Itoa(i+1) + ".")
	}
	return nil
}

// square returns the side of the grid in a position table of one token more.
func square(rows int) (int, error) {
	side := int(math.Round(math.Sqrt(float64(max(rows-1, 0)))))
	if side < 1 || side*side != rows-1 {
		return 0, fmt.Errorf("position table of %d rows is no square grid and a class token: %w", rows, ErrUnsupported)
	}
	return side, nil
}

// guessActivation decides for bare files of open_clip, which do not say. The names are those of its pretrained tags and of
// the files that were published; what was trained on from OpenAI's weights, as most remote-sensing models were, has QuickGELU.
func guessActivation(a Architecture, h hint) (activation, from string) {
	if h.script || a.Extended {
		return QuickGELU, "format" // OpenAI's archives and Long-CLIP have no other
	}
	file := strings.ToLower(filepath.Base(h.file))
	for _, row := range []struct{ part, activation string }{
		{"openai", QuickGELU}, {"metaclip", QuickGELU}, {"dfn", QuickGELU}, {"longclip", QuickGELU},
		{"laion2b", GELU}, {"datacomp", GELU}, {"commonpool", GELU},
		{"skyclip_vit_b", GELU}, {"skyclip_vit_l", QuickGELU},
	} {
		if strings.Contains(file, row.part) {
			return row.activation, "guess"
		}
	}
	if a.Kind == ViT && (a.Width > 1024 || a.ImageSize == 256) { // OpenAI published none of these
		return GELU, "guess"
	}
	return QuickGELU, "guess"
}

func (a *Architecture) validate() error {
	for _, row := range []struct {
		what     string
		n, limit int
	}{
		{"image size", a.ImageSize, maxImage}, {"patch size", a.PatchSize, maxImage}, {"width", a.Width, maxWidth},
		{"heads", a.Heads, maxWidth}, {"text context", a.TextContext, maxContext}, {"text width", a.TextWidth, maxWidth},
		{"text layers", a.TextLayers, maxLayers}, {"text heads", a.TextHeads, maxWidth}, {"text mlp", a.TextMLP, 8 * maxWidth},
		{"vocabulary", a.Vocabulary, maxVocabulary}, {"dimension", a.Dimension, maxWidth},
	} {
		if row.n < 1 || row.n > row.limit {
			return fmt.Errorf("%s %d, want 1 to %d: %w", row.what, row.n, row.limit, ErrUnsupported)
		}
	}
	if a.Kind == ViT {
		if a.Layers < 1 || a.Layers > maxLayers || a.MLP < 1 || a.MLP > 8*maxWidth {
			return fmt.Errorf("%d layers with mlp %d: %w", a.Layers, a.MLP, ErrUnsupported)
		}
		if a.Width%a.Heads != 0 {
			return fmt.Errorf("width %d does not divide by %d heads: %w", a.Width, a.Heads, ErrConfig)
		}
	} else {
		for _, n := range a.Stages {
			if n < 1 || n > maxLayers {
				return fmt.Errorf("stages of %v blocks: %w", a.Stages, ErrUnsupported)
			}
		}
		if 32*a.Width%a.Heads != 0 {
			return fmt.Errorf("width %d does not divide by %d heads: %w", 32*a.Width, a.Heads, ErrConfig)
		}
	}
	if a.TextWidth%a.TextHeads != 0 {
		return fmt.Errorf("text width %d does not divide by %d heads: %w", a.TextWidth, a.TextHeads, ErrConfig)
	}
	if a.EOS < 0 || a.EOS >= a.Vocabulary || a.BOS < 0 || a.BOS >= a.Vocabulary {
		return fmt.Errorf("start token %d and end token %d of %d: %w", a.BOS, a.EOS, a.Vocabulary, ErrConfig)
	}
	return nil
}
