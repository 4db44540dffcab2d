package podman_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io/fs"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ccc-dev/ccc/internal/api"
	"github.com/ccc-dev/ccc/internal/engine"
	"github.com/ccc-dev/ccc/internal/engine/podman"
	"github.com/google/go-cmp/cmp"
)

const digest = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

// Every call's request, as it goes over the wire.
func TestRequestsGolden(t *testing.T) {
	ok := answer(200, `{}`)
	s := serve(t, "5.4.2", map[string]http.HandlerFunc{
		"GET /volumes/ccc-home/json":       ok,
		"POST /containers/create":          answer(201, `{"Id":"abc"}`),
		"POST /containers/c/start":         answer(204, ""),
		"POST /containers/c/stop":          answer(304, ""),
		"DELETE /containers/c":             answer(200, `[{"Id":"no-such-monitor"}]`),
		aContainer:                         ok,
		"GET /containers/json":             answer(200, `[]`),
		"POST /containers/c/wait":          answer(200, `7`),
		"GET /containers/c/logs":           answer(200, ""),
		"POST /volumes/create":             answer(201, `{}`),
		"GET /volumes/json":                answer(200, `[]`),
		"DELETE /volumes/v":                answer(204, ""),
		"GET /images/localhost%2Fi:1/json": answer(200, `{"Id":"abc","RepoTags":["localhost/i:1","localhost/i:2"]}`),
		"GET /images/json":                 answer(200, `[]`),
		"POST /images/import":              answer(200, `{"Id":"sha256:abc"}`),
		"POST /images/pull":                answer(200, `{"stream":"one\n"}{"id":"abc","images":["abc"]}`),
		"POST /images/abc/tag":             answer(201, ""),
		"DELETE /images/localhost%2Fi:1":   ok,
		"DELETE /images/localhost%2Fi:2":   ok,
		"DELETE /images/abc":               refusal(404, "image not known"),
		"HEAD /containers/abc/archive":     answer(404, ""),
		"POST /containers/prune":           answer(200, `[]`),
		"DELETE /containers/abc":           answer(200, `[]`),
		"GET /info":                        ok,
	})
	e, ctx := s.open(), t.Context()
	c := whole()
	c.Homes = []engine.Home{{Volume: "ccc-home", Target: "/home/agent"}}
	id, err := e.CreateContainer(ctx, c)
	if err != nil || id != "abc" {
		t.Errorf("create: %q, %v", id, err)
	}
	code, err := e.WaitContainer(ctx, "c")
	if err != nil || code != 7 {
		t.Errorf("wait: %d, %v", code, err)
	}
	var told []string
	id, err = e.PullImage(ctx, "docker.io/library/debian@"+digest, func(s string) { told = append(told, s) })
	if err != nil || id != "abc" || !slices.Equal(told, []string{"one"}) {
		t.Errorf("pull: %q, %q, %v", id, told, err)
	}
	id, err = e.ImportImage(ctx, strings.NewReader("archive"), engine.ImportOptions{Name: "localhost/i:1", Labels: map[string]string{"b": `"q", r`, "a": "1"}})
	if err != nil || id != "abc" {
		t.Errorf("import: %q, %v", id, err)
	}
	_, statErr := e.StatImage(ctx, "localhost/i:1", "/etc/x")
	if api.KindOf(statErr) != api.KindNotFound {
		t.Errorf("stat: %v", statErr)
	}
	_, errInspect := e.Container(ctx, "x")
	_, errList := e.ListContainers(ctx)
	_, errVolumes := e.ListVolumes(ctx)
	_, errImage := e.Image(ctx, "localhost/i:1")
	_, errImages := e.ListImages(ctx)
	_, errHost := e.Host(ctx)
	for n, err := range []error{
		e.StartContainer(ctx, "c"), e.StopContainer(ctx, "c", 1200*time.Millisecond), e.RemoveContainer(ctx, "c"),
		e.Logs(ctx, "c", engine.LogOptions{Follow: true, Tail: 5, Since: time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)}, nil, nil),
		e.CreateVolume(ctx, engine.Volume{Name: "v", Labels: map[string]string{"k": "v"}}), e.RemoveVolume(ctx, "v"),
		e.TagImage(ctx, "abc", "localhost/i:1"), e.RemoveImage(ctx, "localhost/i:1"),
		errInspect, errList, errVolumes, errImage, errImages, errHost,
	} {
		if err != nil {
			t.Errorf("%d: %v", n, err)
		}
	}
	requests := s.seen()
	slices.Sort(requests)
	text := strings.Join(requests, "\n") + "\n"
	// The mark of the call is random.
	if at := strings.Index(text, `engine.creation": "`); at < 0 {
		t.Error("the creation is not marked")
	} else {
		at += len(`engine.creation": "`)
		text = text[:at] + "RANDOM" + text[at+26:]
	}
	golden(t, "requests.txt", text)
}

func TestNamesCannotBecomeOtherEndpoints(t *testing.T) {
	e, ctx := serve(t, "5.4.2", nil).open(), t.Context()
	for _, name := range []string{"", ".", "..", "../volumes/v", "a/b", "a?b", "a%2fb", "-a", "a b", "a\n", strings.Repeat("a", 200)} {
		_, errInspect := e.Container(ctx, name)
		_, errWait := e.WaitContainer(ctx, name)
		_, errExec := e.Exec(ctx, name, engine.Process{Argv: []string{"true"}, Dir: "/"}, api.Streams{})
		for n, err := range []error{
			errInspect, errWait, errExec, e.StartContainer(ctx, name), e.StopContainer(ctx, name, 0), e.RemoveContainer(ctx, name),
			e.Logs(ctx, name, engine.LogOptions{}, nil, nil), e.RemoveVolume(ctx, name), e.CreateVolume(ctx, engine.Volume{Name: name}),
		} {
			if api.KindOf(err) != api.KindInvalid {
				t.Errorf("%q, %d: %v", name, n, err)
			}
		}
	}
	for _, name := range []string{"", "..", "a/../b", "a//b", "a?b", "dir:", "a b"} {
		if _, err := e.Image(ctx, name); api.KindOf(err) != api.KindInvalid {
			t.Errorf("%q: %v", name, err)
		}
	}
}

// Podman 4 and 5 describe what they have differently in some places.
func TestInspectReadsWhatMatters(t *testing.T) {
	s := serve(t, "5.4.2", map[string]http.HandlerFunc{aContainer: answer(200, `{
		"Id":"abc","Name":"n","Image":"img","Created":"2026-11-22T14:30:49.467756007Z","OCIConfigPath":"/nowhere/config.json",
		"State":{"Status":"exited","Pid":0,"ExitCode":137,"OOMKilled":true,"StartedAt":"0001-01-01T00:00:00Z"},
		"Config":{"Labels":{"io.ccc.schema":"1","io.ccc-engine.creation":"X"},"Entrypoint":["a"],"StopSignal":"SIGTERM"}}`)})
	got, err := s.open().Container(t.Context(), "x")
	if err != nil {
		t.Fatal(err)
	}
	want := engine.Instance{
		ID: "abc", Name: "n", Image: "img", State: engine.InstanceExited, ExitCode: 137, OOMKilled: true,
		Labels: map[string]string{"io.ccc.schema": "1"}, Created: time.Date(2026, 11, 22, 14, 30, 49, 467756007, time.UTC),
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestStatesOfPodman(t *testing.T) {
	for status, want := range map[string]engine.InstanceState{
		"created": engine.InstanceCreated, "configured": engine.InstanceCreated, "running": engine.InstanceRunning, "paused": engine.InstancePaused,
		"exited": engine.InstanceExited, "stopped": engine.InstanceExited, "initialized": engine.InstanceChanging, "stopping": engine.InstanceChanging,
		"removing": engine.InstanceChanging, "unknown": engine.InstanceChanging, "of tomorrow": engine.InstanceChanging,
	} {
		s := serve(t, "5.4.2", map[string]http.HandlerFunc{aContainer: answer(200, fmt.Sprintf(`{"Id":"x","State":{"Status":%q}}`, status))})
		if got, err := s.open().Container(t.Context(), "x"); err != nil || got.State != want {
			t.Errorf("%s is %s (%v), want %s", status, got.State, err, want)
		}
	}
}

// A container inherits the labels of its image. One that is only looked into
// must not be taken for a session, whatever its image says.
func TestInspectedImageIsNoSession(t *testing.T) {
	s := serve(t, "5.4.2", map[string]http.HandlerFunc{"GET /containers/json": answer(200, `[
		{"Id":"a","Names":["a"],"Labels":{"io.ccc.schema":"1","io.ccc-engine.inspection":"1"},"State":"created"},
		{"Id":"b","Names":["b"],"Labels":{"io.ccc.schema":"1"},"State":"running","StartedAt":1700000000}]`)})
	got, err := s.open().ListContainers(t.Context())
	if err != nil || len(got) != 1 || got[0].ID != "b" || got[0].Started.Unix() != 1700000000 {
		t.Errorf("%+v, %v", got, err)
	}
}

// creation plays an engine that loses the answers to creations. first and later
// say what is found under the name after the first and the later ones: the
// creation's own container, another's, or nothing.
func creation(t *testing.T, first, later string) *server {
	var mark atomic.Value
	var calls atomic.Int32
	return serve(t, "5.4.2", map[string]http.HandlerFunc{
		"POST /containers/create": func(w http.ResponseWriter, r *http.Request) {
			var spec struct{ Labels map[string]string }
			if err := json.NewDecoder(r.Body).Decode(&spec); err != nil {
				t.Error(err)
			}
			mark.Store(spec.Labels["io.ccc-engine.creation"])
			if calls.Add(1); later == "made" && calls.Load() > 1 {
				answer(201, `{"Id":"abc"}`)(w, r)
				return
			}
			hangUp(w, r)
		},
		"GET /containers/c/json": func(w http.ResponseWriter, r *http.Request) {
			label := map[string]string{"own": mark.Load().(string), "another's": "X"}[first]
			if label == "" {
				refusal(404, "no such container")(w, r)
				return
			}
			answer(200, fmt.Sprintf(`{"Id":"abc","Config":{"Labels":{"io.ccc-engine.creation":%q}}}`, label))(w, r)
		},
		"DELETE /containers/abc": answer(200, `[]`),
	})
}

func TestLostCreations(t *testing.T) {
	for _, c := range []struct {
		first, later      string
		creates, removals int
		made              bool
	}{
		{"another's", "", 1, 0, false},
		{"own", "", 3, 3, false},
		{"nothing", "", 3, 0, false},
		{"own", "made", 2, 1, true},
		{"nothing", "made", 2, 0, true},
	} {
		s := creation(t, c.first, c.later)
		id, err := s.open().CreateContainer(t.Context(), least())
		if c.made != (err == nil) || c.made != (id == "abc") || !c.made && api.KindOf(err) != api.KindUnavailable {
			t.Errorf("%+v: %q, %v", c, id, err)
		}
		if n := s.count("POST /containers/create"); n != c.creates {
			t.Errorf("%+v: %d creations", c, n)
		}
		if n := s.count("DELETE"); n != c.removals {
			t.Errorf("%+v: %d removals", c, n)
		}
	}
}

func TestCreateIsRepeatedForARace(t *testing.T) {
	var left atomic.Int32
	left.Store(2)
	s := serve(t, "5.4.2", map[string]http.HandlerFunc{"POST /containers/create": func(w http.ResponseWriter, r *http.Request) {
		if left.Add(-1) >= 0 {
			answer(500, `{"message":"keep-id requires additional UIDs or GIDs defined in /etc/subuid and /etc/subgid to function correctly: %!w(<nil>)"}`)(w, r)
			return
		}
		answer(201, `{"Id":"abc"}`)(w, r)
	}})
	if id, err := s.open().CreateContainer(t.Context(), least()); err != nil || id != "abc" {
		t.Errorf("%q, %v", id, err)
	}
	if n := len(s.seen()); n != 3 {
		t.Errorf("%d requests", n)
	}
}

func TestCreateThatIsRefusedTouchesNothing(t *testing.T) {
	s := serve(t, "5.4.2", map[string]http.HandlerFunc{"POST /containers/create": refusal(500, "that name is already in use")})
	if _, err := s.open().CreateContainer(t.Context(), least()); api.KindOf(err) != api.KindConflict {
		t.Errorf("%v", err)
	}
}

// The messages are those that crun and Podman gave under load.
var races = []string{
	"crun: write to `/proc/sys/net/ipv4/ping_group_range`: Invalid argument: OCI runtime error",
	"crun: write file `/proc/123/uid_map`: Operation not permitted: OCI permission denied",
	"crun: write file `/proc/123/gid_map`: Operation not permitted: OCI permission denied",
}

func TestStartIsRepeatedForRaces(t *testing.T) {
	for _, message := range races {
		var left atomic.Int32
		left.Store(2)
		s := serve(t, "5.4.2", map[string]http.HandlerFunc{"POST /containers/c/start": func(w http.ResponseWriter, r *http.Request) {
			if left.Add(-1) >= 0 {
				answer(500, fmt.Sprintf(`{"cause":"OCI runtime error","message":%q,"response":500}`, message))(w, r)
				return
			}
			answer(204, "")(w, r)
		}})
		if err := s.open().StartContainer(t.Context(), "c"); err != nil {
			t.Errorf("%v", err)
		}
		if n := len(s.seen()); n != 3 {
			t.Errorf("%d starts", n)
		}
	}
}

func TestStartIsNotRepeatedForEver(t *testing.T) {
	s := serve(t, "5.4.2", map[string]http.HandlerFunc{"POST /containers/c/start": answer(500, fmt.Sprintf(`{"message":%q}`, races[0]))})
	err := s.open().StartContainer(t.Context(), "c")
	if api.KindOf(err) != api.KindUnavailable || api.ReportOf(err).Hint == "" || !strings.Contains(err.Error(), "ping_group_range") {
		t.Errorf("%v", err)
	}
	if n := len(s.seen()); n != 6 {
		t.Errorf("%d starts", n)
	}
}

func TestStartIsRepeatedForNothingElse(t *testing.T) {
	for _, message := range []string{"crun: executable not found", "crun: write to `/proc/sys/kernel/x`: Invalid argument", "uid_map", "no such container"} {
		s := serve(t, "5.4.2", map[string]http.HandlerFunc{"POST /containers/c/start": answer(500, fmt.Sprintf(`{"message":%q}`, message))})
		if err := s.open().StartContainer(t.Context(), "c"); err == nil {
			t.Error("started")
		}
		if n := len(s.seen()); n != 1 {
			t.Errorf("%q: %d starts", message, n)
		}
	}
}

func TestStopOfWhatNeverRan(t *testing.T) {
	for status, want := range map[string]api.Kind{"created": 0, "exited": 0, "running": api.KindConflict} {
		s := serve(t, "5.4.2", map[string]http.HandlerFunc{
			"POST /containers/x/stop": refusal(500, "container state improper"),
			aContainer:                answer(200, fmt.Sprintf(`{"Id":"x","State":{"Status":%q}}`, status)),
		})
		if err := s.open().StopContainer(t.Context(), "x", 0); api.KindOf(err) != want || (want == 0) != (err == nil) {
			t.Errorf("%s: %v", status, err)
		}
	}
}

func TestStatImageRemovesWhatItMade(t *testing.T) {
	stat := func(status int, text string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			if text != "" {
				w.Header().Set("X-Docker-Container-Path-Stat", base64.StdEncoding.EncodeToString([]byte(text)))
			}
			w.WriteHeader(status)
		}
	}
	for name, c := range map[string]struct {
		head http.HandlerFunc
		want engine.File
		fail string
	}{
		"a file":       {stat(200, `{"mode":8389101,"linkTarget":"/x"}`), engine.File{Mode: fs.ModeSetuid | 0o755}, ""},
		"a link":       {stat(200, `{"mode":134218239,"linkTarget":"/y"}`), engine.File{Mode: fs.ModeSymlink | 0o777, Target: "/y"}, ""},
		"a dead link":  {stat(404, `{"mode":134218239,"linkTarget":"/y"}`), engine.File{Mode: fs.ModeSymlink | 0o777, Target: "/y"}, ""},
		"nothing":      {stat(404, ""), engine.File{}, "not_found"},
		"no header":    {stat(200, ""), engine.File{}, "internal"},
		"no JSON":      {stat(200, "hello"), engine.File{}, "internal"},
		"an error":     {stat(500, `{"mode":420}`), engine.File{}, "internal"},
		"a lost reply": {hangUp, engine.File{}, "unavailable"},
	} {
		s := serve(t, "5.4.2", map[string]http.HandlerFunc{
			"GET /images/i/json": answer(200, `{"Id":"i"}`), "POST /containers/create": answer(201, `{"Id":"abc"}`),
			"HEAD /containers/abc/archive": c.head, "DELETE /containers/abc": answer(200, `[]`), "POST /containers/prune": answer(200, `[]`),
		})
		got, err := s.open().StatImage(t.Context(), "i", "/x")
		if got != c.want || (c.fail == "") != (err == nil) || err != nil && api.KindOf(err).String() != c.fail {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
		if s.count("DELETE /containers/abc") != 1 {
			t.Errorf("%s: the container was not removed", name)
		}
	}
}

func TestPullTellsWhy(t *testing.T) {
	for name, body := range map[string]string{"an error": `{"stream":"a"}{"error":"no such host"}`, "nothing": "", "half": `{"stream":"a"}`} {
		s := serve(t, "5.4.2", map[string]http.HandlerFunc{"POST /images/pull": answer(200, body)})
		_, err := s.open().PullImage(t.Context(), "docker.io/library/debian@"+digest, nil)
		if api.KindOf(err) != api.KindUnavailable {
			t.Errorf("%s: %v", name, err)
		}
		if name == "an error" && !strings.Contains(err.Error(), "no such host") {
			t.Errorf("%v", err)
		}
	}
}

func TestRemoveImageGivesNamesBack(t *testing.T) {
	s := serve(t, "5.4.2", map[string]http.HandlerFunc{
		"GET /images/abc/json":           answer(200, `{"Id":"abc","RepoTags":["localhost/i:1","localhost/i:2"]}`),
		"DELETE /images/localhost%2Fi:1": answer(200, "{}"),
		"DELETE /images/localhost%2Fi:2": refusal(409, "image is in use by a container"),
		"POST /images/abc/tag":           answer(201, ""),
	})
	if err := s.open().RemoveImage(t.Context(), "abc"); api.KindOf(err) != api.KindConflict {
		t.Errorf("%v", err)
	}
	if n := s.count("POST /images/abc/tag?repo=localhost%2Fi&tag=1"); n != 1 {
		t.Errorf("the name was given back %d times", n)
	}
}

func TestHostIsRead(t *testing.T) {
	body := `{"host":{"cgroupVersion":"v2","cgroupControllers":["","cpu","pids"],"kernel":"6.1","ociRuntime":{"name":"crun","version":"crun version 1.8.1\nspec: 1.0.0"},
		"security":{"apparmorEnabled":true,"rootless":true,"seccompEnabled":true,"selinuxEnabled":true}},
		"store":{"graphDriverName":"overlay","graphRoot":"/s","graphOptions":{%s}},"version":{"APIVersion":"4.3.1","Version":"4.3.1"}}`
	want := engine.Host{
		Engine: "podman", EngineVersion: "4.3.1", APIVersion: "5.4.2", Rootless: true, Runtime: "crun", RuntimeInfo: "crun version 1.8.1\nspec: 1.0.0",
		CgroupVersion: "v2", Controllers: []string{"cpu", "pids"}, StorageDriver: "overlay", StorageRoot: "/s", NativeOverlay: true,
		Seccomp: true, AppArmor: true, SELinux: true, Kernel: "6.1",
	}
	for options, native := range map[string]bool{"": true, `"overlay.mount_program":{"Executable":"/usr/bin/fuse-overlayfs"}`: false} {
		s := serve(t, "5.4.2", map[string]http.HandlerFunc{"GET /info": answer(200, fmt.Sprintf(body, options))})
		got, err := s.open().Host(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		want.NativeOverlay = native
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	}
}

// Podman crashes when several creations read the subordinate ids at a time.
func TestCreationsTakeTurns(t *testing.T) {
	runtime := shortDir(t)
	run := func(h http.HandlerFunc, locked bool) {
		s := serve(t, "5.4.2", map[string]http.HandlerFunc{"POST /containers/create": h})
		errs := make(chan error, 2)
		for range cap(errs) {
			// Each as a process of its own has it.
			e := s.open()
			if locked {
				podman.SetRuntime(e, runtime)
			}
			go func() {
				_, err := e.CreateContainer(t.Context(), least())
				errs <- err
			}()
		}
		for range cap(errs) {
			if err := <-errs; err != nil {
				t.Error(err)
			}
		}
	}
	var active, most atomic.Int32
	run(func(w http.ResponseWriter, r *http.Request) {
		n := active.Add(1)
		most.Store(max(most.Load(), n))
		time.Sleep(20 * time.Millisecond)
		active.Add(-1)
		answer(201, `{"Id":"abc"}`)(w, r)
	}, true)
	if most.Load() != 1 {
		t.Errorf("%d at a time", most.Load())
	}
	// Without the lock they do meet: each waits for the other here.
	var both sync.WaitGroup
	both.Add(2)
	run(func(w http.ResponseWriter, r *http.Request) {
		both.Done()
		both.Wait()
		answer(201, `{"Id":"abc"}`)(w, r)
	}, false)
}
