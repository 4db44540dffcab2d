package probe

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ccc-dev/ccc/internal/api"
	"github.com/ccc-dev/ccc/internal/engine"
)

// Answer is that to an item of the checklist.
type Answer string

// The answers.
const (
	Yes     Answer = "yes"
	No      Answer = "no"
	Unknown Answer = "unknown"
)

// Item is one item of the checklist that a host has to pass before agents work
// on it in production.
type Item struct {
	Item   string `json:"item"`
	Answer Answer `json:"answer"`
	// Evidence is what the answer rests on, a sentence each.
	Evidence []string `json:"evidence"`
	// Lacks are what this version of ccc does not have for it; with any of them
	// the answer is no.
	Lacks []string `json:"lacks,omitempty"`
	// Mend is what to do about it, empty if the answer is yes.
	Mend string `json:"mend,omitempty"`
}

// Checklist is the whole of it.
type Checklist struct {
	Items []Item `json:"items"`
	// Flaws are the verdicts on known vulnerabilities of what is installed.
	Flaws []Flaw `json:"flaws"`
	// Ready tells that every answer is yes, and that ccc does something about every
	// flaw that is there.
	Ready bool `json:"ready"`
}

// Checklist answers every item from evidence. What cannot be told is unknown, and
// not ready.
func (h Host) Checklist(ctx context.Context) Checklist {
	var info *engine.Host
	var img *engine.Image
	e, err := h.Engine(ctx)
	if err == nil {
		var got engine.Host
		if got, err = e.Host(ctx); err == nil {
			info = &got
		}
		if i, imgErr := e.Image(ctx, h.Image); imgErr == nil {
			img = &i
		}
	}
	answers := e
	if info == nil {
		// One that does not say what it is is asked nothing else.
		answers = nil
	}
	c := Checklist{Items: []Item{
		h.exposed(info, err), limitsItem(info, err), h.auditItem(), h.network(ctx, answers, err),
		h.scanning(), h.incidents(), h.updates(img), h.access(info, err),
	}}
	c.Flaws = []Flaw{}
	if info != nil {
		c.Flaws = h.flaws(ctx, *info)
	}
	c.Ready = info != nil && !slices.ContainsFunc(c.Items, func(i Item) bool { return i.Answer != Yes }) &&
		!slices.ContainsFunc(c.Flaws, func(f Flaw) bool { return f.Exposure == Affected && f.Guard == "" })
	return c
}

// settle gives an item its answer: no if something lacks or is wrong, unknown if
// something could not be told.
func settle(i Item, wrong, unsure bool) Item {
	switch {
	case wrong || len(i.Lacks) > 0:
		i.Answer = No
	case unsure:
		i.Answer = Unknown
	default:
		i.Answer, i.Mend = Yes, ""
	}
	return i
}

// silent is the answer to an item that the engine has to be asked about.
func silent(item string, err error) Item {
	r := api.ReportOf(err)
	return Item{Item: item, Answer: Unknown, Evidence: []string{"the engine does not answer: " + r.Message}, Mend: r.Hint}
}

// enginePort tells a port on which container engines listen for the network.
func enginePort(port uint64) bool { return port == 2375 || port == 2376 || port == 2377 }

func (h Host) exposed(info *engine.Host, err error) Item {
	const item = "no container engine can be reached through the network"
	if info == nil {
		return silent(item, err)
	}
	i := Item{Item: item, Mend: "have it listen on its Unix socket alone: remove tcp:// from its service and from `podman system service`"}
	wrong := !info.Rootless
	if info.Rootless {
		i.Evidence = append(i.Evidence, "ccc's engine is your own rootless one, on a Unix socket that only you can open")
	} else {
		i.Evidence = append(i.Evidence, "the engine runs as root")
	}
	ports, read := h.listening()
	for _, p := range ports {
		if enginePort(p) {
			wrong = true
			i.Evidence = append(i.Evidence, fmt.Sprintf("something listens on port %d, where engines do", p))
		}
	}
	if read && !wrong {
		i.Evidence = append(i.Evidence, "nothing listens on the ports of engines, 2375 to 2377")
	}
	commands, err := h.Commands()
	for _, c := range commands {
		if strings.Contains(c, "system service") && strings.Contains(c, "tcp:") {
			wrong = true
			i.Evidence = append(i.Evidence, "a Podman service listens on the network")
		}
	}
	if err != nil || !read {
		i.Evidence = append(i.Evidence, "what listens on this host could not be read")
	}
	return settle(i, wrong, err != nil || !read)
}

// listening returns the TCP ports that something listens on (proc_pid_net(5)).
func (h Host) listening() (ports []uint64, read bool) {
	const listens = "0A"
	for _, file := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		data, err := h.ReadFile(file)
		if err != nil {
			continue
		}
		read = true
		for line := range strings.Lines(string(data)) {
			f := strings.Fields(line)
			if len(f) < 4 || f[3] != listens {
				continue
			}
			_, port, _ := strings.Cut(f[1], ":")
			if n, err := strconv.ParseUint(port, 16, 16); err == nil {
				ports = append(ports, n)
			}
		}
	}
	return ports, read
}

func limitsItem(info *engine.Host, err error) Item {
	const item = "resource limits are configured"
	if info == nil {
		return silent(item, err)
	}
	f := cgroups(*info)
	i := Item{Item: item, Mend: cmp.Or(f.Mend, "watch the disk: podman system df"), Evidence: []string{
		"control groups " + info.CgroupVersion + ": " + f.Detail,
		"each session has limits of memory, processors, processes, open files, temporary files, lifetime and idle time by its profile",
	}}
	i.Lacks = []string{"a limit of what a session writes to its workspace copy and its home: the disk alone bounds it"}
	return settle(i, f.Verdict != OK, false)
}

func (h Host) auditItem() Item {
	i := Item{Item: "audit logging is enabled", Mend: "ccc audit verify"}
	detail, err := h.Audit()
	if err != nil {
		i.Evidence = []string{api.ReportOf(err).Message}
		return settle(i, true, false)
	}
	i.Evidence = []string{"every operation is recorded before it is done, or not done: " + detail}
	return settle(i, false, false)
}

// network looks at the sessions that run now; that none can have an interface is
// how sessions are made, and is held against the kernel at each start.
func (h Host) network(ctx context.Context, e engine.Engine, err error) Item {
	const item = "network isolation is implemented"
	if e == nil {
		return silent(item, err)
	}
	i := Item{Item: item, Mend: "ccc session verify NAME, then: ccc session rm NAME", Evidence: []string{
		"a session has a network namespace of its own without any interface but loopback; no request and no setting can give it one, and one that had is removed at its start",
		"the gateway that lets a session reach chosen hosts does not exist in this version: it reaches none",
	}}
	running, wrong, unsure := 0, false, false
	all, err := e.ListContainers(ctx)
	for _, brief := range all {
		if brief.Labels[engine.LabelID] == "" || brief.State != engine.InstanceRunning {
			continue
		}
		in, err := e.Container(ctx, brief.ID)
		var found []string
		if err == nil {
			found, err = h.Interfaces(in.PID)
		}
		name := brief.Labels[engine.LabelName]
		switch {
		case err != nil:
			unsure = true
			i.Evidence = append(i.Evidence, "session "+name+" could not be looked at")
		case len(found) > 0:
			wrong = true
			i.Evidence = append(i.Evidence, "session "+name+" has the interface "+strings.Join(found, ", "))
		default:
			running++
		}
	}
	if err != nil {
		unsure = true
		i.Evidence = append(i.Evidence, "the sessions could not be listed")
	}
	i.Evidence = append(i.Evidence, fmt.Sprintf("%d sessions run now and were seen to have none", running))
	return settle(i, wrong, unsure)
}

// scanners are programs that look for known vulnerabilities in images.
var scanners = []string{"trivy", "grype", "docker-scout", "snyk"}

func (h Host) scanning() Item {
	i := Item{Item: "security scanning is set up", Lacks: []string{"`ccc image scan`: scan results are no part of what ccc checks yet"}}
	var found []string
	for _, s := range scanners {
		if path, err := h.LookPath(s); err == nil {
			found = append(found, path)
		}
	}
	if len(found) == 0 {
		i.Evidence = []string{"none of the scanners " + strings.Join(scanners, ", ") + " is installed"}
		i.Mend = "install one, for example trivy, and run: podman save " + h.Image + " -o image.tar && trivy image --input image.tar"
		return settle(i, true, false)
	}
	i.Evidence = []string{"installed: " + strings.Join(found, ", ")}
	i.Mend = "podman save " + h.Image + " -o image.tar, and have the scanner read that"
	return settle(i, false, false)
}

// plans are where an organisation's plan for incidents is looked for.
func plans() []string {
	return []string{"/etc/ccc/incident-response.md", "/etc/ccc/incident-response.txt"}
}

func (h Host) incidents() Item {
	i := Item{
		Item: "an incident response plan exists", Mend: "write down who does what when a session is not to be trusted, in " + plans()[0],
		Lacks: []string{"`ccc panic`, which stops everything and keeps the evidence; until then: ccc session stop, and copy the audit log", "alerts on what sessions do"},
	}
	for _, p := range plans() {
		if text, err := h.ReadFile(p); err == nil && len(strings.TrimSpace(string(text))) > 0 {
			i.Evidence = []string{fmt.Sprintf("%s has %d bytes; whether it is good is for people to say", p, len(text))}
			i.Mend = "rehearse it without `ccc panic`"
			return settle(i, false, false)
		}
	}
	i.Evidence = []string{"there is none at " + plans()[0] + "; there may be one elsewhere"}
	return settle(i, false, true)
}

// maxImageAge is how old a session image may be: Debian publishes security fixes
// every few days.
const maxImageAge = 30 * 24 * time.Hour

func (h Host) updates(img *engine.Image) Item {
	i := Item{Item: "security updates are installed regularly", Lacks: []string{"`ccc image outdated`: what is old inside an image is not known, only the image's age"}}
	how, scheduled := h.unattended()
	i.Evidence = []string{how}
	i.Mend = "sudo apt-get install unattended-upgrades, or your distribution's way; then: ccc image build"
	wrong := false
	switch {
	case img == nil:
		i.Evidence = append(i.Evidence, "the session image "+h.Image+" is not there")
	case h.Clock().Sub(img.Created) > maxImageAge:
		wrong = true
		i.Evidence = append(i.Evidence, fmt.Sprintf("the session image is %d days old", int(h.Clock().Sub(img.Created).Hours()/24)))
	default:
		i.Evidence = append(i.Evidence, fmt.Sprintf("the session image was made on %s", img.Created.UTC().Format(time.DateOnly)))
	}
	return settle(i, wrong, !scheduled)
}

// unattended looks for what installs updates by itself, in the ways of the larger
// distributions.
func (h Host) unattended() (string, bool) {
	const apt = "/etc/apt/apt.conf.d/20auto-upgrades"
	if data, err := h.ReadFile(apt); err == nil {
		for line := range strings.Lines(string(data)) {
			key, value, _ := strings.Cut(strings.TrimSpace(line), " ")
			if key == "APT::Periodic::Unattended-Upgrade" && strings.Trim(value, `"; `) != "0" {
				return "unattended-upgrades is on in " + apt, true
			}
		}
		return "unattended-upgrades is off in " + apt, false
	}
	for _, timer := range []string{"dnf-automatic.timer", "dnf-automatic-install.timer", "dnf5-automatic.timer", "rpm-ostreed-automatic.timer", "transactional-update.timer"} {
		at := "/etc/systemd/system/timers.target.wants/" + timer
		if _, err := h.ReadFile(at); err == nil {
			return timer + " is enabled", true
		}
	}
	return "nothing was found that installs updates by itself", false
}

func (h Host) access(info *engine.Host, err error) Item {
	const item = "access controls are in place"
	if info == nil {
		return silent(item, err)
	}
	i := Item{Item: item, Mend: "run ccc as an ordinary user with a private runtime directory; set ceilings in /etc/ccc/policy.yaml"}
	wrong := h.UID == 0 || !info.Rootless
	for _, f := range []Finding{h.user(), h.runtimeDir()} {
		wrong = wrong || f.Verdict == Fail
		i.Evidence = append(i.Evidence, f.Check+": "+f.Detail)
	}
	const ceilings = "/etc/ccc/policy.yaml"
	if _, err := h.ReadFile(ceilings); err == nil {
		i.Evidence = append(i.Evidence, ceilings+" sets the host's ceilings")
	} else {
		i.Evidence = append(i.Evidence, "no "+ceilings+": users set their own ceilings")
	}
	i.Evidence = append(i.Evidence, "home, system and hidden directories are refused as projects; policy's refusals are recorded")
	i.Lacks = []string{"a store for keys that sessions use without seeing them, and their rotation", "a limit of requests per minute and caller"}
	return settle(i, wrong, false)
}
