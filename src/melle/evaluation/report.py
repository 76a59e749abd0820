def write_report(folder, results, count=3):
    pass
