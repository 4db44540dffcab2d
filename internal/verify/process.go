package verify

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/ccc-dev/ccc/internal/api"
	"github.com/ccc-dev/ccc/internal/guest"
)

// identity are the controls that say whether the rest can be believed.
func identity() []check {
	return []check{
		{"attestation", "S06 S13 S14 F01", "the container is the one that policy granted, its system call filter included", "host", judgeAttestation},
		{"report", "S06", "what the session says of itself is what the host reads", "both", judgeReport},
		{"init-file", "S13", "/.ccc/init is the file that ccc put there, and cannot be written", "both", judgeInit},
		{"first-process", "S07", "ccc-init is the first process, and nobody inside can read or change it", "inside", judgeFirst},
	}
}

// process are the controls of a process's privileges.
func process() []check {
	return []check{
		{"namespaces", "S01", "a user, mount, PID, network, IPC, UTS and cgroup namespace of its own", "host", judgeNamespaces},
		{"user", "S10", "an ordinary user inside and out, no further groups", "both", judgeUser},
		{"capabilities", "S01 S10", "no capability in any set", "both", judgeCapabilities},
		{"no-new-privileges", "S10", "set for the first process and for every command", "both", judgeNoNewPrivs},
		{"set-id", "S10", "set-user-id programs and file capabilities give nothing", "inside", judgeSetID},
		{"lsm", "S15 S16", "AppArmor or SELinux confines the first process and every command", "both", judgeLSM},
		{"landlock", "S09", "commands cannot even write their own name in /proc", "inside", judgeLandlock},
		{"descriptors", "S14", "no descriptor beyond the three standard ones, and a working directory inside", "inside", judgeDescriptors},
		{"environment", "F06 N14", "only the variables that were asked for, none that looks like a secret", "inside", judgeEnvironment},
	}
}

func judgeAttestation(e *evidence) result {
	if e.Attested != nil {
		return result{verdict: api.VerdictFail, seen: e.Attested.Error()}
	}
	return result{verdict: api.VerdictPass, seen: "the runtime's configuration, read back, is what was granted"}
}

func judgeReport(e *evidence) result {
	var t tally
	if e.Probe == nil {
		t.unsure("the host did not find the probe")
		return t.result("")
	}
	f := e.Probe.Facts
	for key, want := range map[string]string{
		"CapEff": fmt.Sprintf("%016x", f.CapEffective), "CapBnd": fmt.Sprintf("%016x", f.CapBounding), "Seccomp": strconv.Itoa(f.Seccomp),
	} {
		got, _ := e.status("/proc/self/status", key)
		t.expect(got == want, "%s is %s, reported is %q", key, want, got)
	}
	nnp, _ := e.status("/proc/self/status", "NoNewPrivs")
	t.expect((nnp == "1") == f.NoNewPrivs, "NoNewPrivs is %t, reported is %q", f.NoNewPrivs, nnp)
	t.expect(e.Report.Arch == e.Arch, "the architecture is %s, reported is %q", e.Arch, e.Report.Arch)
	t.expect(e.Report.Landlock == e.Landlock, "the Landlock ABI is %d, reported is %d", e.Landlock, e.Report.Landlock)
	for name, link := range e.Probe.Namespaces {
		got := e.Report.Texts["/proc/self/ns/"+name].Data
		t.expect(got == link, "the %s namespace is %s, reported is %q", name, link, got)
	}
	var host, inside []string
	for _, m := range f.Mounts {
		host = append(host, m.Point)
	}
	for _, m := range e.mounts {
		inside = append(inside, m.point)
	}
	slices.Sort(host)
	slices.Sort(inside)
	t.expect(slices.Equal(host, inside), "there are %d mounts, reported are %d others", len(host), len(inside))
	return t.result("privileges, namespaces and %d mounts agree", len(host))
}

func judgeInit(e *evidence) result {
	var t tally
	t.expect(e.Report.Init == e.Init && e.Init.Ino != 0, "the file is %d:%d instead of %d:%d", e.Report.Init.Dev, e.Report.Init.Ino, e.Init.Dev, e.Init.Ino)
	for _, k := range [][2]string{{"open-write", guest.Path}, {"write", guest.Path}, {"write", guest.Dir}} {
		t.refusal(e, k[0], k[1])
	}
	return t.result("the file of the host, read-only")
}

// refusal expects an attempt to have been refused.
func (t *tally) refusal(e *evidence, verb, object string) {
	answer, ok := e.answer(verb, object)
	switch {
	case !ok || !strings.HasPrefix(answer, "ok") && !refused(answer):
		t.unsure("%s %s: %q", verb, object, answer)
	default:
		t.expect(!strings.HasPrefix(answer, "ok"), "%s %s works", verb, object)
	}
}

func judgeFirst(e *evidence) result {
	var t tally
	args := e.Report.Texts["/proc/1/cmdline"].Data
	t.expect(strings.HasPrefix(args, guest.Path+"\x00"+guest.ModePID1+"\x00"), "the first process is %q", strings.ReplaceAll(args, "\x00", " "))
	for _, name := range []string{"environ", "fd", "root", "cwd", "maps"} {
		t.hidden(e, "/proc/1/"+name)
	}
	for _, name := range []string{"mem", "oom_score_adj"} {
		t.refusal(e, "open-write", "/proc/1/"+name)
	}
	return t.result("its memory, environment, files and root are out of reach")
}

func judgeNamespaces(e *evidence) result {
	var t tally
	names := slices.Sorted(maps.Keys(e.Own))
	e.both(&t, func(who string, s Sight) {
		for _, name := range names {
			link := s.Namespaces[name]
			t.expect(link != "" && link != e.Own[name], "the %s namespace of %s is the host's", name, who)
		}
		t.expect(s.Facts.UserNamespace, "%s is in the host's user namespace", who)
	})
	return t.result("%s", strings.Join(names, ", "))
}

func judgeUser(e *evidence) result {
	var t tally
	e.both(&t, func(who string, s Sight) { t.expect(s.Facts.UID != 0, "%s is root on the host", who) })
	uid, gid := fmt.Sprint(e.Want.UID), fmt.Sprint(e.Want.GID)
	for key, want := range map[string]string{"Uid": uid, "Gid": gid} {
		got, _ := e.status("/proc/self/status", key)
		ids := strings.Fields(got)
		t.expect(len(ids) == 4 && !slices.ContainsFunc(ids, func(id string) bool { return id != want }), "%s is %q", key, got)
	}
	groups, ok := e.status("/proc/self/status", "Groups")
	if !ok {
		t.unsure("the groups are not in the report")
	}
	for _, g := range strings.Fields(groups) {
		t.expect(g == gid, "a member of group %s", g)
	}
	return t.result("user %s, group %s inside; user %d outside", uid, gid, e.First.Facts.UID)
}

func judgeCapabilities(e *evidence) result {
	var t tally
	e.both(&t, func(who string, s Sight) {
		t.expect(s.Facts.CapEffective == 0 && s.Facts.CapBounding == 0, "%s has %x effective, %x bounding", who, s.Facts.CapEffective, s.Facts.CapBounding)
	})
	for _, file := range []string{"/proc/self/status", "/proc/1/status"} {
		for _, set := range []string{"CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"} {
			mask, _ := e.status(file, set)
			n, err := strconv.ParseUint(mask, 16, 64)
			if err != nil {
				t.unsure("%s of %s is %q", set, file, mask)
				continue
			}
			t.expect(n == 0, "%s of %s is %x", set, file, n)
		}
	}
	return t.result("none: inheritable, permitted, effective, bounding and ambient are 0")
}

func judgeNoNewPrivs(e *evidence) result {
	var t tally
	e.both(&t, func(who string, s Sight) { t.expect(s.Facts.NoNewPrivs, "%s may gain privileges", who) })
	for _, file := range []string{"/proc/self/status", "/proc/1/status"} {
		v, _ := e.status(file, "NoNewPrivs")
		t.expect(v == "1", "NoNewPrivs of %s is %q", file, v)
	}
	return t.result("set for both")
}

func judgeSetID(e *evidence) result {
	var t tally
	tried := 0
	for _, key := range slices.Sorted(maps.Keys(e.Report.Tries)) {
		file, ok := strings.CutPrefix(key, "set-id ")
		if !ok {
			continue
		}
		answer := e.Report.Tries[key]
		tried++
		// A program that says nothing is static, or has become privileged: then it
		// takes no orders. Who has no_new_privs by the host's word cannot have.
		t.expect(answer == fmt.Sprintf("euid %d", e.Want.UID) || answer == "silent" && e.Probe != nil && e.Probe.Facts.NoNewPrivs || refused(answer),
			"%s runs as %s", file, answer)
	}
	for _, file := range e.Report.Tree.SetID {
		t.expect(!e.writable(file) || e.Probe != nil && e.Probe.Facts.NoNewPrivs, "%s was made inside", file)
	}
	if e.Report.Tree.Directories == 0 {
		t.unsure("no directory was looked at")
	}
	t.good++
	extent := ""
	if e.Report.Tree.Cut {
		extent = ", which are not all"
	}
	return t.result("%d such programs in %d directories%s, %d tried", len(e.Report.Tree.SetID), e.Report.Tree.Directories, extent, tried)
}

func judgeLSM(e *evidence) result {
	const hint = "ccc profile install"
	first := e.First.Facts.LSM
	if first == "" && (e.Probe == nil || e.Probe.Facts.LSM == "") {
		if e.Terms.Require == api.RequireEnforced {
			return result{verdict: api.VerdictFail, seen: "no label, and the session requires one", hint: hint}
		}
		return result{verdict: api.VerdictMissing, seen: cmp.Or(e.state("lsm").Detail, "no label"), hint: hint}
	}
	// A label is not yet the one that is meant for the session.
	if c := e.state("lsm"); e.Attested == nil && c.State != api.StateEnforced && e.Terms.Require != api.RequireEnforced {
		return result{verdict: api.VerdictMissing, seen: c.Detail, hint: hint}
	}
	var t tally
	e.both(&t, func(who string, s Sight) {
		t.expect(s.Facts.LSM == first && first != "", "%s has the label %q", who, s.Facts.LSM)
		t.expect(!strings.HasSuffix(s.Facts.LSM, "(complain)"), "%s is only watched: %q", who, s.Facts.LSM)
	})
	inside := strings.TrimRight(e.Report.Texts["/proc/self/attr/current"].Data, "\x00\n ")
	t.expect(inside == first, "the label inside is %q", inside)
	return t.result("%s", first)
}

func judgeLandlock(e *evidence) result {
	if e.Landlock < guest.LandlockOldest {
		if e.Terms.Require == api.RequireEnforced {
			return result{verdict: api.VerdictFail, seen: "the kernel does not have it, and the session requires it"}
		}
		return result{verdict: api.VerdictMissing, seen: fmt.Sprintf("the kernel has ABI %d, needed is %d", e.Landlock, guest.LandlockOldest), hint: "use Linux 5.19 or newer, with landlock in the lsm= list"}
	}
	var t tally
	t.refusal(e, "open-write", "/proc/self/comm")
	return t.result("in force; the kernel has ABI %d, %d is used", e.Landlock, min(e.Landlock, guest.LandlockFull))
}

func judgeDescriptors(e *evidence) result {
	var t tally
	own := fmt.Sprintf("/proc/%d/fd", e.Report.PID)
	for _, fd := range slices.Sorted(maps.Keys(e.Report.Descriptors)) {
		to := e.Report.Descriptors[fd]
		if n, err := strconv.Atoi(fd); err != nil || n > 2 {
			t.expect(to == own || to == "anon_inode:[eventpoll]" || to == "anon_inode:[eventfd]", "descriptor %s leads to %s", fd, to)
			continue
		}
		t.expect(to == "/dev/null" || strings.HasPrefix(to, "pipe:[") || strings.HasPrefix(to, "socket:[") || strings.HasPrefix(to, "/dev/pts/"), "descriptor %s leads to %s", fd, to)
	}
	t.expect(e.Report.Dir == e.Want.Dir, "the working directory is %q", e.Report.Dir)
	return t.result("%d descriptors, %s", len(e.Report.Descriptors), e.Want.Dir)
}

func judgeEnvironment(e *evidence) result {
	var t tally
	for _, v := range e.Report.Variables {
		_, asked := e.Want.Env[v.Name]
		t.expect(asked || slices.Contains([]string{"HOSTNAME", "TERM", "container"}, v.Name), "%s was not asked for", v.Name)
		t.expect(v.Like == "", "%s holds %s", v.Name, v.Like)
		t.expect(!secretive(v.Name), "%s has the name of a secret", v.Name)
	}
	r := t.result("%d variables", len(e.Report.Variables))
	if r.verdict == api.VerdictFail && len(e.Terms.Env) > 0 {
		r.hint = "leave secrets out of --env: every process of a session can read them"
	}
	return r
}

// secretive tells whether a variable is named like those that hold secrets.
func secretive(name string) bool {
	for word := range strings.SplitSeq(strings.ToUpper(name), "_") {
		if slices.Contains([]string{"KEY", "APIKEY", "TOKEN", "SECRET", "SECRETS", "PASSWORD", "PASSWD", "PASSPHRASE", "CREDENTIAL", "CREDENTIALS", "SOCK"}, word) {
			return true
		}
	}
	return false
}

// Program returns the arguments that the host finds the probe by.
func Program(sockets []string) []string {
	argv := []string{guest.Path, guest.ModeProbe}
	for _, s := range sockets {
		argv = append(argv, guest.FlagConnect, s)
	}
	return argv
}
