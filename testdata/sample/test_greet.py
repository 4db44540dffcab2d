import unittest

from greet import greet


class GreetTest(unittest.TestCase):
    def test_names_whom_it_greets(self):
        self.assertIn("Ada", greet("Ada"))


if __name__ == "__main__":
    unittest.main()
