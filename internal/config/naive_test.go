package config_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/viper"
	"go.yaml.in/yaml/v3"
)

// The attacks without the controls: what the libraries do by themselves. If one
// of these fails, a control may have become needless.

func TestALinkWouldBeFollowed(t *testing.T) {
	secret, link := write(t, "secret", "token"), filepath.Join(t.TempDir(), ".ccc.yaml")
	if err := os.Symlink(secret, link); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(link); err != nil || string(b) != "token" {
		t.Errorf("read %q (%v)", b, err)
	}
}

func TestATypoWouldBeIgnored(t *testing.T) {
	v := viper.New()
	v.SetConfigType("yaml")
	var c struct{ Require string }
	if err := errors.Join(v.ReadConfig(strings.NewReader("requier: enforced\n")), v.Unmarshal(&c)); err != nil || c.Require != "" {
		t.Errorf("got %+v, %v", c, err)
	}
}

func TestADottedKeyWouldStandForTheNestedOne(t *testing.T) {
	v := viper.New()
	v.SetConfigType("yaml")
	if err := v.ReadConfig(strings.NewReader("limits: {memory: 1g}\nlimits.memory: 9g\n")); err != nil || v.GetString("limits.memory") != "9g" {
		t.Errorf("got %s, %v", v.GetString("limits.memory"), err)
	}
}

func TestAnAliasWouldExpand(t *testing.T) {
	const text = "a: &a [x,x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: [*b,*b,*b,*b,*b,*b,*b,*b,*b,*b]\n"
	var c struct{ C [][][]string }
	if err := yaml.Unmarshal([]byte(text), &c); err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, b := range c.C {
		for _, a := range b {
			n += len(a)
		}
	}
	if n != 1000 {
		t.Errorf("%d values", n)
	}
}
