package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/cache/index"
)

// shortDigest is as much of a digest as people are shown, and may type.
const shortDigest = 12

func (a *app) indexListCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "list",
		Short: "List what is embedded: layers, models, sizes",
		Long:  "List what lies in the data folder: each layer at each zoom, by which model. Older versions of a layer are listed too.",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			cfg, err := a.loadConfig()
			if err != nil {
				return err
			}
			store, err := a.openStore(cfg.Data, true)
			if err != nil {
				return err
			}
			defer store.Close()
			keys, err := store.Sets()
			if err != nil {
				return err
			}
			return a.writeSets(c.Context(), cfg.Data, store, keys)
		},
	}
	a.outputFlag(c, "table", "json")
	return c
}

func (a *app) writeSets(ctx context.Context, data string, store *index.Store, keys []index.Key) error {
	dir, err := a.dataDir(data)
	if err != nil {
		return err
	}
	known := knownModels(dir)
	type row struct {
		Layer   string `json:"layer"`
		Version string `json:"version"`
		Zoom    int    `json:"zoom"`
		Model   string `json:"model"`
		Digest  string `json:"digest"`
		Tiles   int    `json:"tiles"`
		Bytes   int64  `json:"bytes"`
	}
	rows := []row{}
	for _, k := range keys {
		set, err := store.Set(ctx, k)
		if err != nil {
			return err
		}
		st := set.Stats()
		rows = append(rows, row{k.Layer, k.Version, int(k.Zoom), known[k.Model].ID, k.Model, st.Rows + st.Blanks, st.Bytes})
	}
	if a.format("table", "json") == "json" {
		return json.NewEncoder(a.stdout).Encode(rows)
	}
	w := tabwriter.NewWriter(a.stdout, 0, 4, 2, ' ', 0)
	fmt.Fprintln(w, "LAYER\tZOOM\tMODEL\tDIGEST\tVERSION\tTILES\tSIZE")
	for _, r := range rows {
		fmt.Fprintf(w, "%s\t%d\t%s\t%.12s\t%.12s\t%d\t%s\n", r.Layer, r.Zoom, cmp.Or(r.Model, "?"), r.Digest, r.Version, r.Tiles, bytesText(r.Bytes))
	}
	return w.Flush()
}

// removal says which sets of the index go.
type removal struct {
	model, layer string
	stale        bool
}

func (a *app) indexRemoveCommand() *cobra.Command {
	var r removal
	c := &cobra.Command{
		Use:   "remove (--of MODEL | --layer LAYER | --stale [SOURCE...])",
		Short: "Remove what was embedded by a model, of a layer, or what is no longer used",
		Long: `Remove embeddings from the data folder. An index that another model has made stays until it is removed here: one can
go back to that model without waiting. --stale removes, of the layers given or in the config, what other models and older
versions of the layers have left. A server that is running holds the index: stop it first.`,
		Example: `  tilescout index list
  tilescout index remove --of tilescout-aerial-1
  tilescout index remove --of 3f0a9c2b71de --layer city
  tilescout index remove --stale --config city.yaml`,
		RunE: func(c *cobra.Command, args []string) error {
			a.sources = append(a.sources, args...)
			return a.indexRemove(c.Context(), r)
		},
	}
	c.Flags().StringVar(&r.model, "of", "", "model: its name, digest (8 digits or more), or folder")
	c.Flags().StringVar(&r.layer, "layer", "", "layer")
	c.Flags().BoolVar(&r.stale, "stale", false, "what the model and the layers of now do not use")
	a.sourceFlag(c)
	return c
}

func (a *app) indexRemove(ctx context.Context, r removal) error {
	if !r.stale && r.model == "" && r.layer == "" {
		return fmt.Errorf("say what to remove: --of MODEL, --layer LAYER or --stale; see tilescout index list: %w", errUsage)
	}
	cfg, err := a.loadConfig()
	if err != nil {
		return err
	}
	var store *index.Store
	var keys []index.Key
	if r.stale {
		p, err := a.open(ctx, cfg, forWriting)
		if err != nil {
			return err
		}
		defer p.close()
		if len(p.engine.Layers()) == 0 {
			return fmt.Errorf("--stale needs the layers that are in use: give them, or --config: %w", errUsage)
		}
		if keys, err = p.engine.Stale(); err != nil {
			return err
		}
		ours := map[string]bool{}
		for _, id := range p.engine.Layers() {
			ours[id] = true
		}
		keys = only(keys, func(k index.Key) bool { return ours[k.Layer] })
		store = p.store
	} else {
		if store, err = a.openStore(cfg.Data, false); err != nil {
			return err
		}
		defer store.Close()
		if keys, err = store.Sets(); err != nil {
			return err
		}
	}
	dir, err := a.dataDir(cfg.Data)
	if err != nil {
		return err
	}
	known := knownModels(dir)
	keys = only(keys, func(k index.Key) bool {
		return (r.layer == "" || k.Layer == r.layer) && (r.model == "" || isModel(known[k.Model], k.Model, r.model))
	})
	if len(keys) == 0 && !r.stale {
		return fmt.Errorf("nothing of that is embedded; see tilescout index list: %w", tilescout.ErrBadInput)
	}
	return a.removeSets(ctx, store, keys)
}

func only(keys []index.Key, keep func(index.Key) bool) []index.Key {
	var out []index.Key
	for _, k := range keys {
		if keep(k) {
			out = append(out, k)
		}
	}
	return out
}

// isModel says whether somebody means this model.
func isModel(known knownModel, digest, said string) bool {
	if said == known.ID || said == known.Model || len(said) >= 8 && strings.HasPrefix(digest, strings.ToLower(said)) {
		return true
	}
	path, err := filepath.Abs(said)
	return err == nil && path == known.Model
}

func (a *app) removeSets(ctx context.Context, store *index.Store, keys []index.Key) error {
	tiles, bytes := 0, int64(0)
	for _, k := range keys {
		if err := ctx.Err(); err != nil {
			return err
		}
		if set, err := store.Set(ctx, k); err == nil { // one that does not open can be removed all the same
			st := set.Stats()
			tiles, bytes = tiles+st.Rows+st.Blanks, bytes+st.Bytes
		}
		if err := store.Remove(k); err != nil {
			return err
		}
	}
	fmt.Fprintf(a.stderr, "removed %d sets: %d tiles, %s\n", len(keys), tiles, bytesText(bytes))
	return nil
}
