package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/encoder/checkpoint"
	"github.com/tilescout/tilescout/encoder/convert"
	"github.com/tilescout/tilescout/encoder/graph"
	"github.com/tilescout/tilescout/encoder/onnxruntime"
	"github.com/tilescout/tilescout/encoder/verify"
)

// convertFlags are the flags of model convert.
type convertFlags struct {
	out, activation, int8, calibrate, dense string
	fp16, unverified                        bool
	convert.Options
}

func (a *app) modelConvertCommand() *cobra.Command {
	var o convertFlags
	c := &cobra.Command{
		Use:   "convert CHECKPOINT --out DIR",
		Short: "Make a model folder of a CLIP checkpoint",
		Long: `Read a CLIP checkpoint (a folder of transformers or open_clip, a .pt, .bin, .safetensors or .msgpack file),
write the graphs that run it, and hold them against a plain computation of the same model.
Ready ONNX graphs of immich, rclip, optimum or transformers.js are taken as they are.
Nothing is downloaded and no code in the checkpoint is run. Either the whole folder is there in the end, or nothing.

--int8 makes the image tower three and a half times as fast on a CPU with VNNI and a quarter of the size. It is fitted to tiles: name a
folder of pictures or a source of your own with --calibrate, or it is fitted to the drawn demo scene.`,
		Example: `  tilescout model convert flax-community/clip-rsicd-v2 --out models/clip-rsicd-v2 --int8   # after model get
  tilescout model convert clip-rsicd --out models/clip-rsicd
  tilescout model convert RemoteCLIP-ViT-B-32.pt --out models/remoteclip --activation quick_gelu --vocabulary clip-rsicd
  tilescout model convert clip-rsicd --out models/clip-rsicd-int8 --int8 --calibrate ortho.tif
  tilescout search stadium -s ortho.tif --model models/clip-rsicd`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return a.convertModel(c, args[0], o)
		},
	}
	f := c.Flags()
	f.StringVar(&o.out, "out", "", "folder to write (required); must not exist")
	f.BoolVar(&o.fp16, "fp16", false, "store weights as float16: half the size, as fast as float32")
	f.StringVar(&o.int8, "int8", "", `int8 image tower, "static" or "dynamic"; dynamic needs no calibration, but results depend on the batch`)
	f.Lookup("int8").NoOptDefVal = "static"
	f.StringVar(&o.calibrate, "calibrate", "", "pictures to fit int8 to: a folder of them, or a source of tiles")
	f.IntVar(&o.Size, "size", 0, "pixels a side of the input (default: as trained); position embeddings are interpolated")
	f.StringVar(&o.activation, "activation", "", "quick_gelu, gelu or gelu_tanh, where the checkpoint does not say")
	f.StringVar(&o.Vocabulary, "vocabulary", "", "folder with vocab.json and merges.txt, where the checkpoint has none")
	f.StringVar(&o.dense, "dense", "", "embeddings of patches: naclip (default), clearclip, maskclip or none")
	f.StringVar(&o.ID, "id", "", "id of the model (default: the name of the folder)")
	f.StringVar(&o.Title, "title", "", "title of the model")
	f.Float64Var(&o.LogitScale, "logit-scale", 0, "of ready ONNX graphs, which do not hold it (default 100)")
	f.StringVar(&o.Licence, "licence", "", "licence of the model")
	f.BoolVar(&o.unverified, "no-verify", false, "do not hold the graphs against the reference")
	return c
}

func (a *app) convertModel(c *cobra.Command, src string, o convertFlags) error {
	switch {
	case o.out == "":
		return fmt.Errorf("name the folder to write with --out: %w", errUsage)
	case o.fp16 && o.int8 != "":
		return fmt.Errorf("--fp16 and --int8 exclude each other: %w", errUsage)
	case o.int8 == "static":
		o.Precision = graph.Int8Static
	case o.int8 == "dynamic":
		o.Precision = graph.Int8Dynamic
	case o.int8 != "":
		return fmt.Errorf("--int8 %q: want static or dynamic: %w", o.int8, errUsage)
	case o.fp16:
		o.Precision = graph.Float16
	}
	if o.calibrate != "" && o.Precision != graph.Int8Static {
		return fmt.Errorf("--calibrate goes with --int8: %w", errUsage)
	}
	if o.ID == "" {
		o.ID = filepath.Base(filepath.Clean(o.out))
	}
	o.Dense, o.Threads = graph.DenseMethod(o.dense), a.threads
	ctx := c.Context()
	src, err := a.checkpointPath(src)
	if err != nil {
		return err
	}
	ckpt, err := checkpoint.Open(ctx, src, checkpoint.Options{Activation: o.activation})
	if errors.Is(err, checkpoint.ErrONNX) {
		return a.convertReady(ctx, src, o)
	}
	if err == nil && o.LogitScale != 0 {
		err = errors.Join(ckpt.Close(), fmt.Errorf("--logit-scale is for ready ONNX graphs; a checkpoint has its own: %w", errUsage))
	}
	if errors.Is(err, tilescout.ErrNotFound) {
		return fmt.Errorf("%w: %w", err, tilescout.ErrBadInput)
	}
	if err != nil {
		return err
	}
	defer ckpt.Close()
	fmt.Fprintf(a.stderr, "%s: %s, %s, activation %s (%s)\n", src, ckpt.Architecture().Name(), ckpt.Format(), ckpt.Architecture().Activation, ckpt.Architecture().ActivationFrom)
	if err := a.calibration(c, &o); err != nil {
		return err
	}
	finish := a.stages(&o.Options)
	if !o.unverified {
		o.Check = a.checkConverted
	}
	report, err := convert.Convert(ctx, ckpt, o.out, o.Options)
	finish()
	if err != nil {
		return err
	}
	a.converted(report, o.out)
	return nil
}

// stages shows how a conversion goes on, a bar for each stage; the returned function ends the last.
func (a *app) stages(o *convert.Options) (finish func()) {
	var shown *bar
	stage := ""
	finish = func() {
		if shown != nil {
			shown.done()
		}
	}
	o.Progress = func(name string, done, total int) {
		if name != stage {
			finish()
			stage, shown = name, a.progress(name)
		}
		shown.count(done, total)
	}
	return finish
}

// converted says what was written.
func (a *app) converted(report convert.Report, out string) {
	for _, n := range report.Notes {
		fmt.Fprintf(a.stderr, "tilescout: %s\n", n)
	}
	fmt.Fprintf(a.stderr, "%s: %.1f MB, image tower %s; use it with --model %s\n", out, float64(report.Bytes)/1e6, report.Manifest.Made.Precision, out)
	fmt.Fprintln(a.stdout, out)
}

// calibration gets the library and the pictures that int8 needs.
func (a *app) calibration(c *cobra.Command, o *convertFlags) error {
	if o.Precision != graph.Int8Static {
		return nil
	}
	dir, err := a.dataDir("")
	if err != nil {
		return err
	}
	path, err := onnxruntime.Find(onnxruntime.Search{Flag: a.runtime, DataDir: dir})
	if err != nil {
		return err
	}
	if o.Runtime, err = onnxruntime.Load(path); err != nil {
		return err
	}
	if o.calibrate == "" {
		fmt.Fprintln(a.stderr, "tilescout: int8 is fitted to the drawn demo scene; name your own tiles with --calibrate")
	}
	o.Pictures, err = a.samplePictures(c, o.calibrate)
	return err
}

// checkConverted verifies a folder before it gets its name.
func (a *app) checkConverted(ctx context.Context, dir string) error {
	checks, err := a.verifyFolder(ctx, dir, nil)
	if err != nil && !errors.Is(err, tilescout.ErrUnavailable) {
		return err
	}
	if err != nil {
		fmt.Fprintf(a.stderr, "tilescout: not verified: %s\n", oneLine(err))
		return nil
	}
	if n := verify.Failed(checks); n > 0 {
		if err := writeChecks(a.stderr, checks); err != nil {
			return err
		}
		return fmt.Errorf("%d of %d checks failed: nothing was written", n, len(checks))
	}
	fmt.Fprintf(a.stderr, "verified: %d checks; see tilescout model verify\n", len(checks))
	return nil
}

// isFolder says whether a path is a folder.
func isFolder(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}
