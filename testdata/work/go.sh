export PATH=/workspace/go/bin:$PATH GOPROXY=off GOFLAGS="-mod=mod -buildvcs=false" GOTOOLCHAIN=local
mkdir -p m/sum; cd m
printf 'module example.com/m\n\ngo 1.24\n' > go.mod
cat > sum/sum.go <<'E'
// Package sum adds.
package sum

import "sync"

// Of adds numbers, each in a goroutine of its own.
func Of(numbers ...int) (total int) {
	var wg sync.WaitGroup
	var mu sync.Mutex
	for _, n := range numbers {
		wg.Add(1)
		go func() { defer wg.Done(); mu.Lock(); defer mu.Unlock(); total += n }()
	}
	wg.Wait()
	return total
}
E
cat > sum/sum_test.go <<'E'
package sum_test

import (
	"io"
	"net"
	"os"
	"os/exec"
	"testing"

	"example.com/m/sum"
)

func TestOf(t *testing.T) {
	if got := sum.Of(1, 2, 39); got != 42 {
		t.Fatal(got)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		if c, err := l.Accept(); err == nil {
			_, _ = io.WriteString(c, "hello")
			_ = c.Close()
		}
	}()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	if said, err := io.ReadAll(c); err != nil || string(said) != "hello" {
		t.Fatal(said, err)
	}
	if out, err := exec.Command("echo", "child").Output(); err != nil || string(out) != "child\n" {
		t.Fatal(out, err)
	}
	if err := os.WriteFile(t.TempDir()+"/x", nil, 0o600); err != nil {
		t.Fatal(err)
	}
}
E
printf 'package main\n\nimport (\n\t"fmt"\n\n\t"example.com/m/sum"\n)\n\nfunc main() { fmt.Println(sum.Of(40, 2)) }\n' > main.go
# Each of the two compiles the standard library: it must not be much of it.
go build -o prog .; [ "$(./prog)" = 42 ]
go test -vet=off ./...
CGO_ENABLED=1 go test -vet=off -race ./...
