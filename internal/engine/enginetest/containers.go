package enginetest

import (
	"slices"

	"github.com/ccc-dev/ccc/internal/api"
	"github.com/ccc-dev/ccc/internal/engine"
)

func containerCases() []testCase {
	return []testCase{
		{"version is at least 4.0", func(r *rig) {
			if v := r.e.Version(); !v.AtLeast(4, 0) {
				r.Errorf("version %v", v)
			}
		}},
		{"host is rootless and says its version", func(r *rig) {
			h, err := r.e.Host(r.Context())
			r.must(err)
			if !h.Rootless || h.Engine == "" || h.APIVersion != r.e.Version().String() || h.StorageRoot == "" || h.Runtime == "" {
				r.Errorf("%+v", h)
			}
		}},
		{"create makes a container that does not run", func(r *rig) {
			c := r.wanted()
			id := r.create(c)
			for _, ref := range []string{id, c.Name} {
				i := r.inspect(ref)
				if i.ID != id || i.Name != c.Name || i.Image != c.Image || i.State != engine.InstanceCreated {
					r.Errorf("%+v", i)
				}
				if !contains(i.Labels, c.Labels) {
					r.Errorf("labels %q, want %q among them", i.Labels, c.Labels)
				}
				if i.Created.IsZero() || !i.Started.IsZero() || i.Spec != nil || i.PID != 0 {
					r.Errorf("%+v", i)
				}
			}
		}},
		{"create refuses a name that is taken", func(r *rig) {
			c := r.wanted()
			id := r.create(c)
			_, err := r.e.CreateContainer(r.Context(), c)
			r.wantKind(err, api.KindConflict)
			if got := r.inspect(c.Name).ID; got != id {
				r.Errorf("%s is now %s, was %s", c.Name, got, id)
			}
		}},
		{"create refuses an image that is not there", func(r *rig) {
			c := r.wanted()
			c.Image = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
			_, err := r.e.CreateContainer(r.Context(), c)
			r.wantKind(err, api.KindNotFound)
			r.gone(c.Name)
		}},
		{"create refuses a mount source that is not there", func(r *rig) {
			c := r.wanted()
			c.Binds = []engine.Bind{{Source: r.TempDir() + "/missing", Target: "/workspace"}}
			_, err := r.e.CreateContainer(r.Context(), c)
			r.wantKind(err, api.KindNotFound)
			r.gone(c.Name)
		}},
		{"create refuses a volume that is not there", func(r *rig) {
			c := r.wanted()
			c.Homes = []engine.Home{{Volume: unique(), Target: "/home/agent"}}
			_, err := r.e.CreateContainer(r.Context(), c)
			r.wantKind(err, api.KindNotFound)
			r.gone(c.Name)
		}},
		{"list has every state of what is labelled and nothing else", func(r *rig) {
			created := r.create(r.wanted())
			running := r.start()
			exited := r.start("true")
			_, err := r.e.WaitContainer(r.Context(), exited)
			r.must(err)
			c := r.wanted()
			delete(c.Labels, engine.LabelSchema)
			foreign := r.create(c)
			list, err := r.e.ListContainers(r.Context())
			r.must(err)
			states := map[string]engine.InstanceState{}
			for _, i := range list {
				states[i.ID] = i.State
				if i.ID == running && (i.Name == "" || i.Image != c.Image || i.Created.IsZero() || i.Labels[engine.LabelUser+"odd"] != c.Labels[engine.LabelUser+"odd"]) {
					r.Errorf("%+v", i)
				}
			}
			want := map[string]engine.InstanceState{created: engine.InstanceCreated, running: engine.InstanceRunning, exited: engine.InstanceExited, foreign: ""}
			for id, state := range want {
				if states[id] != state {
					r.Errorf("%.12s is %q, want %q", id, states[id], state)
				}
			}
		}},
		{"the runtime is given what was asked for", specCase},
	}
}

// specCase reads back what the OCI runtime was given.
func specCase(r *rig) {
	dir := r.TempDir()
	c := r.wanted()
	c.Binds = []engine.Bind{{Source: dir, Target: "/workspace", Writable: true}, {Source: dir, Target: "/mnt"}}
	volume := engine.Volume{Name: unique()}
	r.volume(volume)
	c.Homes = []engine.Home{{Volume: volume.Name, Target: "/home/agent"}}
	id := r.create(c)
	r.must(r.e.StartContainer(r.Context(), id))
	s := r.inspect(id).Spec
	if s == nil || s.Process == nil || s.Root == nil || s.Linux == nil || s.Linux.Resources == nil {
		r.Fatalf("the configuration is not complete: %+v", s)
	}
	p := s.Process
	if p.User.UID != c.UID || p.User.GID != c.GID || !p.NoNewPrivileges || p.Cwd != c.Dir || p.Terminal {
		r.Errorf("process %+v", p)
	}
	if caps := p.Capabilities; caps != nil && len(slices.Concat(caps.Bounding, caps.Effective, caps.Permitted, caps.Inheritable, caps.Ambient)) > 0 {
		r.Errorf("capabilities %+v", caps)
	}
	if n := len(p.Args) - len(c.Argv); n < 1 || !slices.Equal(p.Args[n:], c.Argv) {
		r.Errorf("arguments %q, want an init and then %q", p.Args, c.Argv)
	}
	for _, e := range []string{"PATH=" + path, "HOME=/home/agent"} {
		if !slices.Contains(p.Env, e) {
			r.Errorf("environment %q lacks %s", p.Env, e)
		}
	}
	if !s.Root.Readonly || s.Hostname != c.Hostname || s.Hooks != nil || s.Linux.Seccomp == nil || len(s.Linux.Devices) > 0 {
		r.Errorf("root %+v, host name %q, hooks %+v, devices %+v", s.Root, s.Hostname, s.Hooks, s.Linux.Devices)
	}
	if len(s.Linux.MaskedPaths) == 0 || len(s.Linux.ReadonlyPaths) == 0 {
		r.Error("nothing is masked")
	}
	var namespaces []string
	for _, n := range s.Linux.Namespaces {
		if n.Path != "" {
			r.Errorf("namespace %+v is not its own", n)
		}
		namespaces = append(namespaces, string(n.Type))
	}
	slices.Sort(namespaces)
	if want := []string{"cgroup", "ipc", "mount", "network", "pid", "user", "uts"}; !slices.Equal(namespaces, want) {
		r.Errorf("namespaces %q, want %q", namespaces, want)
	}
	res := s.Linux.Resources
	if m := res.Memory; m == nil || m.Limit == nil || *m.Limit != c.Memory || m.Swap == nil || *m.Swap != c.Memory {
		r.Errorf("memory %+v", m)
	}
	if u := res.CPU; u == nil || u.Quota == nil || u.Period == nil || *u.Quota*1000 != c.CPUs*int64(*u.Period) {
		r.Errorf("cpu %+v", u)
	}
	if res.Pids == nil || res.Pids.Limit != c.PIDs {
		r.Errorf("pids %+v", res.Pids)
	}
	mounts := map[string][]string{}
	for _, m := range s.Mounts {
		mounts[m.Destination] = append(m.Options, "type="+m.Type, "source="+m.Source)
	}
	for target, options := range map[string][]string{
		"/workspace":  {"nosuid", "nodev", "rw", "source=" + dir},
		"/mnt":        {"nosuid", "nodev", "ro", "source=" + dir},
		"/home/agent": {"nosuid", "nodev"},
		"/tmp":        {"nosuid", "nodev", "noexec", "type=tmpfs", "size=1048576", "mode=1777"},
		"/sys":        {"ro"},
		"/proc":       {"nosuid"},
	} {
		for _, o := range options {
			if !slices.Contains(mounts[target], o) {
				r.Errorf("the mount at %s has %q and not %q", target, mounts[target], o)
			}
		}
	}
	for _, l := range p.Rlimits {
		if want, ok := c.Rlimits[l.Type[len("RLIMIT_"):]]; ok && (l.Hard != want || l.Soft != want) {
			r.Errorf("%+v, want %d", l, want)
		}
	}
}
