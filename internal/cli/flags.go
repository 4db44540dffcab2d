package cli

import (
	"encoding"
	"strings"

	"github.com/spf13/pflag"
)

// parsed is a value that parses itself, by the one parser it has.
type parsed[T any] interface {
	*T
	encoding.TextUnmarshaler
	encoding.TextMarshaler
}

// textFlag makes a self-parsing value a flag. Its type, shown in help, is the
// flag's placeholder.
type textFlag[T any, P parsed[T]] struct {
	value *T
	kind  string
}

func (f textFlag[T, P]) Set(s string) error { return P(f.value).UnmarshalText([]byte(s)) }
func (f textFlag[T, P]) Type() string       { return f.kind }

func (f textFlag[T, P]) String() string {
	if f.value == nil {
		return ""
	}
	text, err := P(f.value).MarshalText()
	// The zero of a quantity means "the default", which help says in words.
	if err != nil || string(text) == "0" || string(text) == "0s" {
		return ""
	}
	return string(text)
}

// text adds a flag for one self-parsing value.
func text[T any, P parsed[T]](f *pflag.FlagSet, value *T, name, kind, usage string) {
	f.Var(textFlag[T, P]{value, kind}, name, usage)
}

// listFlag makes a list of self-parsing values a flag that can be repeated.
type listFlag[T any, P parsed[T]] struct {
	values *[]T
	kind   string
}

func (f listFlag[T, P]) Set(s string) error {
	var v T
	if err := P(&v).UnmarshalText([]byte(s)); err != nil {
		return err
	}
	*f.values = append(*f.values, v)
	return nil
}

func (f listFlag[T, P]) Type() string { return f.kind }

func (f listFlag[T, P]) String() string {
	if f.values == nil {
		return ""
	}
	var all []string
	for i := range *f.values {
		if t, err := P(&(*f.values)[i]).MarshalText(); err == nil {
			all = append(all, string(t))
		}
	}
	return strings.Join(all, " ")
}

// list adds a flag that can be repeated. Its name may end in a comma and a
// letter, its short form.
func list[T any, P parsed[T]](f *pflag.FlagSet, values *[]T, name, kind, usage string) {
	name, short, _ := strings.Cut(name, ",")
	f.VarP(listFlag[T, P]{values, kind}, name, short, usage)
}
