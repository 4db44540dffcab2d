package calls

// int80 makes a system call through the 32-bit gate, without arguments.
func int80(nr uintptr) uintptr
