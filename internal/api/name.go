package api

var (
	namePattern = Syntax(63, `[a-z0-9][a-z0-9_.-]*`)
	idPattern   = Syntax(12, `[0-9a-f]{12}`)
)

// Name is the name a person gives to a session: 1 to 63 characters of
// `a-z 0-9 _ . -`, the first a letter or digit. The zero value means that ccc
// chooses one.
type Name string

// UnmarshalText parses a name.
func (n *Name) UnmarshalText(text []byte) error {
	s := string(text)
	if !namePattern(s) {
		return Invalidf("use 1 to 63 of a-z 0-9 _ . - and start with a letter or digit", "session name %s is not valid", quote(s)).By("input.name")
	}
	*n = Name(s)
	return nil
}

// MarshalText returns the name.
func (n Name) MarshalText() ([]byte, error) { return []byte(n), nil }

// ID is the identity of a session: 12 hexadecimal digits, chosen at random,
// never reused.
type ID string

// Valid tells whether the identity is well formed. Labels are read back from
// the engine, where others could have written them, so an ID is checked before
// a path is made of it.
func (id ID) Valid() bool { return idPattern(string(id)) }

// Ref is how a caller points at a session: its name, its [ID], or the beginning
// of its ID, as long as only one session's ID begins so.
type Ref string

// UnmarshalText parses a reference. All three forms have the syntax of a name.
func (r *Ref) UnmarshalText(text []byte) error {
	s := string(text)
	if !namePattern(s) {
		return Invalidf("run `ccc session list` for the names and ids", "session %s is not a name or an id", quote(s)).By("input.ref")
	}
	*r = Ref(s)
	return nil
}

// MarshalText returns the reference.
func (r Ref) MarshalText() ([]byte, error) { return []byte(r), nil }
