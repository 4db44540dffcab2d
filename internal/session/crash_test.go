package session_test

const childVar = "CCC_TEST_SESSION_CHILD"

func child([]string) error { return nil }
