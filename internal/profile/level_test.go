package profile_test

import (
	"strings"
	"testing"
	"testing/fstest"

	"github.com/ccc-dev/ccc/internal/api"
	"github.com/ccc-dev/ccc/internal/profile"
	"github.com/ccc-dev/ccc/profiles"
)

func shipped() profile.Source { return profile.Source{FS: profiles.Levels, Dir: "levels"} }

func TestShippedLevelsAreWhole(t *testing.T) {
	names := profile.Names(shipped())
	if got := strings.Join(names, " "); got != "standard strict trusted" {
		t.Fatalf("shipped levels: %s", got)
	}
	for _, n := range names {
		if _, err := profile.Find(api.Level(n), shipped()); err != nil {
			t.Errorf("%s: %v", n, err)
		}
	}
}

func TestStrictIsNoWiderThanStandard(t *testing.T) {
	strict, err := profile.Find("strict", shipped())
	if err != nil {
		t.Fatal(err)
	}
	standard, err := profile.Find("standard", shipped())
	if err != nil {
		t.Fatal(err)
	}
	if s, n := strict.Limits, standard.Limits; s.Memory > n.Memory || s.CPUs > n.CPUs || s.PIDs > n.PIDs || s.NoFile > n.NoFile || s.Tmp > n.Tmp || s.TTL > n.TTL || s.Idle > n.Idle {
		t.Errorf("strict %+v is wider than standard %+v", s, n)
	}
	if strict.Mounts != profile.MountNone {
		t.Errorf("strict allows mounts: %s", strict.Mounts)
	}
}

const whole = "limits: {memory: 1g, cpus: '1', pids: '9', nofile: '9', tmp: 1m, ttl: 1h, idle: 10m}\nworkspaces: [overlay]\n"

func TestBadLevelsAreRefused(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"unknown key":      {whole + "netwrok: none\n", "netwrok"},
		"missing limit":    {"limits: {memory: 1g}\nworkspaces: [overlay]\n", "all required"},
		"bad size":         {strings.Replace(whole, "1g", "lots", 1), "not valid"},
		"bad mount mode":   {whole + "mounts: all\n", "not none"},
		"bad workspace":    {strings.Replace(whole, "overlay", "root", 1), "not valid"},
		"no workspace":     {strings.Replace(whole, "[overlay]", "[]", 1), "at least one"},
		"not a map":        {"- a\n", "cannot unmarshal"},
		"larger than 64 K": {whole + "# " + strings.Repeat("x", 70000), "larger"},
	} {
		t.Run(name, func(t *testing.T) {
			src := profile.Source{FS: fstest.MapFS{"p/x.yaml": {Data: []byte(c.text)}}, Dir: "p"}
			_, err := profile.Find("x", src)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want an error with %q", err, c.want)
			}
		})
	}
}

func TestOwnLevelShadowsShipped(t *testing.T) {
	own := profile.Source{FS: fstest.MapFS{"p/strict.yaml": {Data: []byte(whole)}}, Dir: "p", Label: "mine/"}
	got, err := profile.Find("strict", own, shipped())
	if err != nil || got.Source != "mine/p/strict.yaml" || got.Mounts != profile.MountNone {
		t.Errorf("got %+v, %v", got, err)
	}
	_, err = profile.Find("absent", own, shipped())
	if api.KindOf(err) != api.KindNotFound {
		t.Errorf("absent level: %v", err)
	}
}
