package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ccc-dev/ccc/internal/api"
	"github.com/ccc-dev/ccc/internal/apparmor"
	"github.com/ccc-dev/ccc/internal/profile"
	"github.com/ccc-dev/ccc/internal/seccomp"
	"github.com/ccc-dev/ccc/profiles"
)

// shown is a profile as `ccc profile list` shows it.
type shown struct {
	// Name is the kind and the name within it.
	Name string `json:"name"`
	For  string `json:"for"`
	// Adds and GivesUp are what a wider one allows, and what that costs.
	Adds    []string `json:"adds,omitempty"`
	GivesUp []string `json:"gives_up,omitempty"`
	// Text is the file, as `ccc profile show` prints it.
	Text string `json:"text,omitempty"`
	// read returns the file.
	read func(abi string) ([]byte, error)
}

func (r *run) profileCommand() *cobra.Command {
	return group("profile", "the files that confine sessions: print them, load them, see what is in force",
		r.profileListCommand(), r.profileShowCommand(), r.profileStatusCommand(), r.profileInstallCommand(), r.profileLearnCommand())
}

func (r *run) profileListCommand() *cobra.Command {
	return &cobra.Command{
		Use: "list", Aliases: []string{"ls"}, Short: "list the profiles and what they are for", Args: noArgs,
		Long: `List what confines sessions: the AppArmor profile, the system call filters and
the policy levels, those of ~/.config/ccc/profiles included. A filter is chosen
by a level, a level by --profile when a session is created.`,
		Example: "  ccc profile list\n  ccc profile list --json | jq -r '.[] | select(.gives_up) | .name'",
		RunE: func(*cobra.Command, []string) error {
			all, err := r.profiles()
			if err != nil {
				return err
			}
			if r.global.JSON {
				return r.printJSON(all)
			}
			rows := make([][]string, len(all))
			for i, p := range all {
				rows[i] = []string{p.Name, p.For}
			}
			return r.table([]string{"NAME", "FOR"}, rows)
		},
	}
}

func (r *run) profileShowCommand() *cobra.Command {
	var abi string
	cmd := &cobra.Command{
		Use: "show NAME", Short: "print a profile",
		Long: `Print a profile as it is given to the kernel, the engine or ccc. Of the AppArmor
profile there is one for each policy ABI; without --abi it is the one that fits
this host's apparmor_parser.`,
		Example:           "  ccc profile show apparmor:session\n  ccc profile show seccomp:agent --json | jq -r .text",
		Args:              r.one("one profile"),
		ValidArgsFunction: r.completeProfiles,
		RunE: func(_ *cobra.Command, args []string) error {
			p, err := r.findProfile(args[0])
			if err != nil {
				return err
			}
			text, err := p.read(abi)
			if err != nil {
				return err
			}
			if r.global.JSON {
				p.Text = string(text)
				return r.printJSON(p)
			}
			_, err = r.Out.Write(text)
			return err
		},
	}
	cmd.Flags().StringVar(&abi, "abi", "", "AppArmor policy `ABI`, "+apparmor.OldABI+" or "+apparmor.NewABI)
	r.completeWords(cmd, "abi", apparmor.OldABI, apparmor.NewABI)
	return cmd
}

// completeProfiles completes the name of a profile.
func (r *run) completeProfiles(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	all, err := r.profiles()
	if err != nil || len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	names := make([]string, len(all))
	for i, p := range all {
		names[i] = p.Name
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

// findProfile returns the profile of a name.
func (r *run) findProfile(name string) (shown, error) {
	all, err := r.profiles()
	if err != nil {
		return shown{}, err
	}
	var names []string
	for _, p := range all {
		if p.Name == name {
			return p, nil
		}
		names = append(names, p.Name)
	}
	return shown{}, &api.Error{
		Kind: api.KindNotFound, Rule: "profile.unknown",
		Msg:  fmt.Sprintf("there is no profile %s", api.Printable(shorten(fmt.Sprintf("%q", name), maxTold/4))),
		Hint: "use one of: " + strings.Join(names, ", "),
	}
}

// profiles returns all that there are.
func (r *run) profiles() ([]shown, error) {
	all := []shown{{
		Name: apparmor.ShownAs, For: "AppArmor: what no process of a session may do, whatever its system call filter",
		read: func(abi string) ([]byte, error) {
			if abi == "" {
				abi = r.AppArmor.Status().ABI
			}
			return apparmor.Text(abi)
		},
	}}
	all = append(all, shown{
		Name: "selinux", For: "SELinux: types for sessions, the gateway and its socket; compiled in tests, never enforced, and no session asks for them",
		read: func(abi string) ([]byte, error) {
			return withoutABI(abi, func() ([]byte, error) { return profiles.SELinux.ReadFile("selinux/ccc.cil") })
		},
	})
	for _, v := range seccomp.Variants() {
		all = append(all, shown{
			Name: "seccomp:" + v.Name, For: v.For, Adds: v.Adds, GivesUp: v.GivesUp,
			read: func(abi string) ([]byte, error) {
				return withoutABI(abi, func() ([]byte, error) { return seccomp.Profile(v.Name) })
			},
		})
	}
	sources, err := r.Levels()
	if err != nil {
		return nil, err
	}
	for _, name := range profile.Names(sources...) {
		level, err := profile.Find(api.Level(name), sources...)
		if err != nil {
			return nil, err
		}
		all = append(all, shown{
			Name: "level:" + name, For: level.Description,
			read: func(abi string) ([]byte, error) {
				return withoutABI(abi, func() ([]byte, error) { return levelFile(name, sources) })
			},
		})
	}
	return all, nil
}

// withoutABI refuses --abi for what has none.
func withoutABI(abi string, read func() ([]byte, error)) ([]byte, error) {
	if abi != "" {
		return nil, api.Invalidf("leave it out", "--abi is for the AppArmor profile alone").By("input.usage")
	}
	return read()
}

// levelFile returns the file of a level, which was found there before.
func levelFile(name string, sources []profile.Source) ([]byte, error) {
	for _, s := range sources {
		text, err := fs.ReadFile(s.FS, path.Join(s.Dir, name+".yaml"))
		if !errors.Is(err, fs.ErrNotExist) {
			return text, err
		}
	}
	return nil, fs.ErrNotExist
}
