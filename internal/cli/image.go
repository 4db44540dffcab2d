package cli

import (
	"fmt"
	"strings"
	"time"

	"github.com/docker/go-units"
	"github.com/spf13/cobra"

	"github.com/ccc-dev/ccc/internal/api"
	"github.com/ccc-dev/ccc/internal/engine"
	"github.com/ccc-dev/ccc/internal/image"
)

func (r *run) imageCommand() *cobra.Command {
	return group("image", "make, list and remove session images", r.imageBuildCommand(), r.imageListCommand(), r.imageRemoveCommand())
}

func (r *run) imageBuildCommand() *cobra.Command {
	var req image.Request
	cmd := &cobra.Command{
		Use: "build", Short: "make the session image", Args: noArgs,
		Long: `Make the session image: from Debian packages alone, as you, without a registry;
or, with --base, from a registry's image that a digest pins. An image that was
made from the same recipe is not made again unless --refresh is given.`,
		Example:     "  ccc image build\n  ccc image build --base docker.io/library/debian@sha256:…",
		Annotations: map[string]string{"action": "image.build"},
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := req.Validate(); err != nil {
				return r.refused(cmd, err)
			}
			b, err := r.Images(cmd.Context(), r.global)
			if err != nil {
				return err
			}
			b.Progress = func(line string) { r.progress("%s", api.Printable(line)) }
			var img engine.Image
			err = r.recorded(cmd, req, func() (err error) {
				img, err = b.Build(cmd.Context(), req)
				return err
			})
			if err != nil {
				return err
			}
			if r.global.JSON {
				return r.printJSON(img)
			}
			r.progress("image %s is ready", strings.Join(img.Names, ", "))
			_, err = fmt.Fprintln(r.Out, img.ID)
			return err
		},
	}
	f := cmd.Flags()
	text(f, &req.Name, "name", "NAME", "name of the image (default "+image.DefaultName+")")
	f.StringVar(&req.Base, "base", "", "registry `IMAGE@sha256:DIGEST` to take instead of building one")
	f.StringVar(&req.Mirror, "mirror", "", "package mirror `URL`")
	f.BoolVar(&req.Refresh, "refresh", false, "build again, with the newest packages of the suite")
	return cmd
}

func (r *run) imageListCommand() *cobra.Command {
	var format string
	cmd := &cobra.Command{
		Use: "list", Aliases: []string{"ls"}, Short: "list the session images", Args: noArgs, Example: "  ccc image list",
		RunE: func(cmd *cobra.Command, _ []string) error {
			b, err := r.Images(cmd.Context(), r.global)
			if err != nil {
				return err
			}
			all, err := image.List(cmd.Context(), b.Images)
			if err != nil {
				return err
			}
			switch {
			case r.global.JSON:
				return r.printJSON(all)
			case format != "":
				return printFormat(r, format, all)
			case len(all) == 0 && r.Terminal != nil:
				r.progress("no images; make one with `ccc image build`")
				return nil
			}
			return r.table([]string{"NAME", "ID", "SIZE", "CREATED", "RECIPE"}, imageRows(all))
		},
	}
	cmd.Flags().StringVar(&format, "format", "", "Go `TEMPLATE` for each image")
	return cmd
}

func imageRows(all []engine.Image) [][]string {
	rows := make([][]string, len(all))
	for i, img := range all {
		rows[i] = []string{
			strings.Join(img.Names, ","), img.ID[:min(12, len(img.ID))], units.HumanSize(float64(img.Size)),
			img.Created.Format(time.DateTime), img.Labels[engine.LabelImage],
		}
	}
	return rows
}

func (r *run) imageRemoveCommand() *cobra.Command {
	var yes bool
	var ref api.Image
	cmd := &cobra.Command{
		Use: "rm IMAGE", Short: "remove a session image", Example: "  ccc image rm localhost/ccc-session:latest",
		Annotations: map[string]string{"action": "image.remove"},
		Args: func(cmd *cobra.Command, args []string) error {
			if err := r.one("one image")(cmd, args); err != nil {
				return err
			}
			if err := ref.UnmarshalText([]byte(args[0])); err != nil {
				return r.refused(cmd, err)
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := r.confirm(yes, "remove the image "+string(ref)+"?"); err != nil {
				return err
			}
			b, err := r.Images(cmd.Context(), r.global)
			if err != nil {
				return err
			}
			if _, err := b.Images.Image(cmd.Context(), string(ref)); api.KindOf(err) == api.KindNotFound {
				return r.refused(cmd, &api.Error{
					Kind: api.KindNotFound, Rule: "image.unknown",
					Msg: fmt.Sprintf("there is no image %q", ref), Hint: "run `ccc image list` for the images there are",
				})
			}
			return r.recorded(cmd, map[string]api.Image{"image": ref}, func() error {
				return image.Remove(cmd.Context(), b.Images, ref)
			})
		},
	}
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	return cmd
}
