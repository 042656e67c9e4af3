print("veridianfs")
