package mcpserver

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/ccc-dev/ccc/internal/api"
)

// createIn are the arguments of create_session: those of the predecessor, under
// its names, and a few of our own.
type createIn struct {
	ProjectPath string       `json:"projectPath" jsonschema:"absolute path of the project directory on the host"`
	SessionName api.Name     `json:"sessionName,omitempty" jsonschema:"name of the session; made from the project's if left out"`
	Profile     api.Level    `json:"profile,omitempty" jsonschema:"policy level; only a stricter one than the configured one"`
	Limits      *limitsIn    `json:"limits,omitempty" jsonschema:"lower limits than the configured ones"`
	Require     *api.Require `json:"require,omitempty" jsonschema:"fail unless every control is enforced, or at least a fallback"`
	Strict      bool         `json:"strictPermissions,omitempty" jsonschema:"the same as profile strict"`
	Docker      *dockerIn    `json:"dockerOpts,omitempty" jsonschema:"limits in the words of Docker; they may tighten, never loosen"`
	Mounts      []mountIn    `json:"mcpMounts,omitempty" jsonschema:"further host paths; only those that the user's configuration lists"`
	MCPConfig   *mcpConfigIn `json:"mcpConfig,omitempty" jsonschema:"MCP servers for the agent in the session; not used yet"`

	APIKey       string `json:"apiKey,omitempty" jsonschema:"not used and not kept: no credential enters a session"`
	Bedrock      bool   `json:"useBedrock,omitempty" jsonschema:"not used yet"`
	Region       string `json:"awsRegion,omitempty" jsonschema:"not used yet"`
	AccessKey    string `json:"awsAccessKeyId,omitempty" jsonschema:"not used and not kept"`
	SecretKey    string `json:"awsSecretAccessKey,omitempty" jsonschema:"not used and not kept"`
	SessionToken string `json:"awsSessionToken,omitempty" jsonschema:"not used and not kept"`
	Model        string `json:"bedrockModel,omitempty" jsonschema:"not used yet"`
	SmallModel   string `json:"bedrockSmallModel,omitempty" jsonschema:"not used yet"`
}

// limitsIn are limits in our own words.
type limitsIn struct {
	Memory api.Bytes    `json:"memory,omitempty" jsonschema:"for example 2g"`
	CPUs   api.CPUs     `json:"cpus,omitempty" jsonschema:"processors, for example 0.5"`
	PIDs   api.Count    `json:"pids,omitempty" jsonschema:"processes and threads, for example 256"`
	TTL    api.Duration `json:"ttl,omitempty" jsonschema:"how long the session lives, for example 1h"`
	Idle   api.Duration `json:"idle,omitempty" jsonschema:"how long it lives without work, for example 10m"`
}

// dockerIn are limits in Docker's words.
type dockerIn struct {
	SecurityOpt    []string  `json:"SecurityOpt,omitempty" jsonschema:"no-new-privileges, which is always on"`
	CapDrop        []string  `json:"CapDrop,omitempty" jsonschema:"capabilities to drop; all of them always are"`
	ReadonlyRootfs *bool     `json:"ReadonlyRootfs,omitempty" jsonschema:"true, which is always on"`
	Memory         api.Bytes `json:"Memory,omitempty" jsonschema:"for example 2g"`
	CPUQuota       int       `json:"CpuQuota,omitempty" jsonschema:"microseconds of processor time in 100 milliseconds"`
}

// mountIn is one further host path.
type mountIn struct {
	HostPath      string `json:"hostPath" jsonschema:"absolute path on the host"`
	ContainerPath string `json:"containerPath" jsonschema:"absolute path in the session"`
	ReadOnly      *bool  `json:"readOnly,omitempty" jsonschema:"true, which it is if left out"`
}

// mcpConfigIn are the predecessor's words for an agent's MCP servers.
type mcpConfigIn struct {
	Servers map[string]any `json:"mcpServers,omitempty"`
}

// Created is a new session.
type Created struct {
	SessionID api.ID      `json:"session_id"`
	Session   api.Session `json:"session"`
	Notes     []string    `json:"notes" jsonschema:"which arguments had no effect, and why"`
}

func createTool() entry {
	return define(about{
		name: "create_session", title: "Make a session", action: "session.create", hints: hints{},
		description: "Make and start a locked-down session on a project directory and return it with its posture: for each control whether it is enforced, whether something weaker stands in, or whether this host cannot give it. Commands in it see a copy-on-write view of the project at /workspace.",
	}, create)
}

func create(ctx context.Context, t *turn, in createIn) (Created, string, error) {
	req, err := in.request()
	if err != nil {
		return Created{}, "", t.refused(ctx, err)
	}
	req.Labels = []api.Label{{Key: labelOwner, Value: t.owner()}}
	// What is wrong with the project is for the core to say: a configuration
	// that cannot be read is refused before, and recorded all the same.
	core, err := t.Open(ctx, req.Project)
	if err != nil {
		return Created{}, "", t.refused(ctx, err)
	}
	defer core.Audit.Close() //nolint:errcheck // it has nothing to flush
	core = t.bound(core)
	if err := tighten(core, &req); err != nil {
		return Created{}, "", t.refused(ctx, err)
	}
	stop := t.beat(ctx, "making the session", quiet)
	defer stop()
	s, err := core.Create(ctx, t.caller(), req)
	if err != nil {
		return Created{}, "", err
	}
	out := Created{SessionID: s.ID, Session: shown(s), Notes: in.notes()}
	count := map[api.State]int{}
	for _, c := range s.Posture {
		count[c.State]++
	}
	text := fmt.Sprintf("session %s (%s) on %s, profile %s, limits %s, network %s: %d controls enforced, %d by fallback, %d missing",
		s.Name, s.ID, out.Session.Project, s.Level, s.Limits, s.Network,
		count[api.StateEnforced], count[api.StateFallback], count[api.StateMissing])
	return out, strings.Join(append([]string{text}, out.Notes...), "\n"), nil
}

// request returns what is asked of the core.
func (in createIn) request() (api.CreateRequest, error) {
	req := api.CreateRequest{Project: in.ProjectPath, Name: in.SessionName, Level: in.Profile}
	if err := absolute("projectPath", in.ProjectPath); err != nil {
		return req, err
	}
	if in.Strict {
		if in.Profile != "" && in.Profile != "strict" {
			return req, api.Invalidf("leave one of them out", "strictPermissions and profile %s contradict each other", in.Profile).By("input.argument")
		}
		req.Level = "strict"
	}
	if in.Require != nil {
		req.Require = *in.Require
	}
	if l := in.Limits; l != nil {
		req.Limits = api.Limits{Memory: l.Memory, CPUs: l.CPUs, PIDs: l.PIDs, TTL: l.TTL, Idle: l.Idle}
	}
	if in.Docker != nil {
		if err := in.Docker.into(&req.Limits); err != nil {
			return req, err
		}
	}
	for _, m := range in.Mounts {
		mount, err := m.mount()
		if err != nil {
			return req, err
		}
		req.Mounts = append(req.Mounts, mount)
	}
	return req, req.Validate()
}

// mount returns the mount in the words of the core.
func (m mountIn) mount() (api.Mount, error) {
	if err := absolute("hostPath", m.HostPath); err != nil {
		return api.Mount{}, err
	}
	var mount api.Mount
	err := mount.UnmarshalText([]byte(m.HostPath + ":" + m.ContainerPath))
	mount.Writable = m.ReadOnly != nil && !*m.ReadOnly
	return mount, err
}

// into adds what Docker's words mean to limits. What cannot be honoured is an
// error: a restriction that is dropped in silence is worse than none.
func (d dockerIn) into(l *api.Limits) error {
	if err := d.check(); err != nil {
		return err
	}
	if d.Memory != 0 && l.Memory != 0 && d.Memory != l.Memory {
		return api.Invalidf("give it once", "dockerOpts.Memory and limits.memory contradict each other").By("input.argument")
	}
	if d.Memory != 0 {
		l.Memory = d.Memory
	}
	// The period is Docker's default, 100 ms; a quota below a hundredth of a
	// processor would be none.
	const period = 100_000
	if d.CPUQuota == 0 {
		return nil
	}
	if d.CPUQuota < period/100 || d.CPUQuota > 1024*period || l.CPUs != 0 {
		return api.Invalidf("for example 50000 for half a processor, and no limits.cpus", "dockerOpts.CpuQuota %d cannot be had", d.CPUQuota).By("input.argument")
	}
	l.CPUs = api.CPUs(d.CPUQuota * 1000 / period)
	return nil
}

// check refuses what would loosen a session, and what is no restriction at all.
func (d dockerIn) check() error {
	for _, o := range d.SecurityOpt {
		if !slices.Contains([]string{"no-new-privileges", "no-new-privileges:true", "no-new-privileges=true"}, o) {
			return api.Deniedf("client.loosen", "leave it out: the session has its own filters, see get_session", "the security option %+.64q cannot be had", o)
		}
	}
	for _, c := range d.CapDrop {
		if c == "" || len(c) > 32 || strings.Trim(c, "ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz") != "" {
			return api.Invalidf("for example ALL", "dockerOpts.CapDrop: %+.64q is no capability", c).By("input.argument")
		}
	}
	if d.ReadonlyRootfs != nil && !*d.ReadonlyRootfs {
		return api.Deniedf("client.loosen", "leave it out", "the root file system is always read-only")
	}
	return nil
}

// notes says which arguments had no effect.
func (in createIn) notes() []string {
	notes := []string{}
	if in.APIKey != "" || in.AccessKey != "" || in.SecretKey != "" || in.SessionToken != "" {
		notes = append(notes, "the credentials were not used and not kept: no credential enters a session")
	}
	if in.Bedrock || in.Region != "" || in.Model != "" || in.SmallModel != "" {
		notes = append(notes, "the settings for Bedrock have no effect: sessions have no network yet")
	}
	if in.MCPConfig != nil {
		notes = append(notes, "mcpConfig has no effect: sessions have no agent of their own yet")
	}
	return notes
}

// inside returns a path in a session, absolute and clean.
func inside(name, p string) (string, error) {
	if strings.ContainsRune(p, 0) || len(p) > 4096 || p == "" {
		return "", api.Invalidf("write a path in the session", "%s is not a path", name).By("input.path")
	}
	if !path.IsAbs(p) {
		p = path.Join("/workspace", p)
	}
	return path.Clean(p), nil
}
