package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/tilescout/tilescout"
)

// Exit statuses, as docs/commands.md lists them.
const (
	statusDone        = 0
	statusFailed      = 1
	statusBadInput    = 2
	statusNothing     = 3
	statusInterrupted = 130
)

var (
	errUsage   = errors.New("usage")
	errNothing = errors.New("nothing matched")
)

// app is what every command shares: the streams and the flags that all of them take.
type app struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	figures        *figures

	configFile string
	data       string
	model      string
	device     string
	runtime    string
	threads    int

	deviceOptions map[string]string
	output        string
	quiet         bool
	sources       []string
	titles        map[string]layerText // by source, for sources that a command made
}

// run is the whole program. The first interrupt asks everything to end; the second ends it at once.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	ignoreFileLimit()
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	go func() {
		<-ctx.Done()
		stop()
	}()
	a := &app{stdin: stdin, stdout: stdout, stderr: stderr, figures: newFigures()}
	root := a.rootCommand()
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err != nil && strings.HasPrefix(err.Error(), "unknown command") { // cobra has no kind for it
		err = fmt.Errorf("%w: %w", err, errUsage)
	}
	status := statusOf(err)
	if err != nil && status != statusNothing {
		if status == statusInterrupted {
			fmt.Fprintln(stderr, "tilescout: interrupted")
		} else {
			fmt.Fprintln(stderr, "tilescout:", oneLine(err))
		}
	}
	return status
}

// statusOf is the one place where an error becomes an exit status.
func statusOf(err error) int {
	for _, row := range []struct {
		kind   error
		status int
	}{
		{errNothing, statusNothing},
		{context.Canceled, statusInterrupted},
		{errUsage, statusBadInput},
		{tilescout.ErrBadInput, statusBadInput},
		{tilescout.ErrOutOfRange, statusBadInput},
		{tilescout.ErrForbidden, statusBadInput},
	} {
		if errors.Is(err, row.kind) {
			return row.status
		}
	}
	if err != nil {
		return statusFailed
	}
	return statusDone
}

// oneLine is the error without the names of its kinds at the end: they are for programs.
func oneLine(err error) string {
	s := strings.Join(strings.Fields(err.Error()), " ")
	for _, kind := range []error{tilescout.ErrBadInput, tilescout.ErrUnavailable, tilescout.ErrForbidden, tilescout.ErrNotFound, errUsage} {
		s = strings.TrimSuffix(s, ": "+kind.Error())
	}
	return s
}

func (a *app) rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "tilescout",
		Short: "Type a prompt, see on a map where it is",
		Long: `Tilescout serves map tiles from any source, embeds them with CLIP, and shows on a map,
in QGIS or on the command line where the things are that a prompt names.`,
		Example: `  tilescout demo                                   a map of a drawn scene on http://localhost:8080
  tilescout demo --source ortho.tif                the same on your own imagery
  tilescout search "storage tanks" -s ortho.tif    ranked matches on the terminal
  tilescout serve --config tilescout.yaml          tiles, WMTS and search for other programs`,
		Version:       version,
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.SetOut(a.stdout)
	root.SetErr(a.stderr)
	root.SetIn(a.stdin)
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return fmt.Errorf("%w; see %q: %w", err, c.CommandPath()+" --help", errUsage)
	})
	f := root.PersistentFlags()
	f.StringVar(&a.configFile, "config", "", "config file (default tilescout.yaml in the current folder, if there)")
	f.StringVar(&a.data, "data", "", "folder for index, tile cache and downloads (default: the user's cache folder)")
	f.StringVar(&a.model, "model", "", `"bundled" or a model folder`)
	f.StringVar(&a.device, "device", "", "execution provider: auto, cpu, cuda, tensorrt, coreml, directml, openvino")
	f.StringToStringVar(&a.deviceOptions, "device-option", nil, "option of the execution provider, passed on as it is: device_id=1 (repeatable)")
	f.StringVar(&a.runtime, "onnxruntime", "", "ONNX Runtime library, or the folder it is in")
	f.IntVar(&a.threads, "threads", 0, "threads of the model (0: one per core, at most 8)")
	f.BoolVarP(&a.quiet, "quiet", "q", false, "no progress on stderr")
	root.AddCommand(
		a.demoCommand(), a.serveCommand(), a.indexCommand(), a.searchCommand(), a.similarCommand(),
		a.classifyCommand(), a.findCommand(), a.exportCommand(), a.evalCommand(), a.modelCommand(), a.runtimeCommand(), a.configCommand(), a.versionCommand(),
	)
	root.AddCommand(a.healthcheckCommand())
	wrapArgs(root)
	return root
}

// wrapArgs makes a wrong number of arguments a usage error that names the help.
func wrapArgs(c *cobra.Command) {
	if check := c.Args; check != nil {
		c.Args = func(c *cobra.Command, args []string) error {
			if err := check(c, args); err != nil {
				return fmt.Errorf("%w; see %q: %w", err, c.CommandPath()+" --help", errUsage)
			}
			return nil
		}
	}
	for _, sub := range c.Commands() {
		wrapArgs(sub)
	}
}

// sourceFlag adds -s.
func (a *app) sourceFlag(c *cobra.Command) {
	c.Flags().StringArrayVarP(&a.sources, "source", "s", nil, "file (.tif, .mbtiles) or URL template ({z}/{x}/{y}); repeat for several layers")
}

// outputFlag adds -o.
func (a *app) outputFlag(c *cobra.Command, formats ...string) {
	c.Flags().StringVarP(&a.output, "output", "o", "", "output: "+strings.Join(formats, ", ")+" (default: table on a terminal, json otherwise)")
	_ = c.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(formats, cobra.ShellCompDirectiveNoFileComp))
}
